import { formatMac } from '../../addr/mac.ts';
import { InputError } from '../../errors.ts';
import type { Link, LinkEnd } from '../../plan/state.ts';
import { NLM_F_CREATE, NLM_F_EXCL } from '../netlink/constants.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INET_CONF,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_MTU,
  IFLA_TXQLEN,
  IN6_ADDR_GEN_MODE_NONE,
  IPV4_DEVCONF_FORWARDING,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
} from './constants.ts';

/** struct ifinfomsg: the link by its index, and the flags that `change` names set to `flags`. */
export function writeLinkHeader(writer: MessageWriter, index: number, flags: number, change: number): void {
  writer.u8(AF_UNSPEC).u8(0).u16(0).u32(index).u32(flags).u32(change);
}

/** A name, an address and a size: what both ends of a pair, a TAP and a bridge have. */
export function writeLinkEnd(writer: MessageWriter, end: LinkEnd): void {
  writer.attrString(IFLA_IFNAME, end.link.name).attr(IFLA_ADDRESS, end.mac).attrU32(IFLA_MTU, end.mtu);
}

/**
 * No link-local address: it costs a route and a multicast membership per link, each found by a linear search. The
 * kernel refuses this while it creates a link, and acts on it last in a message that also raises one: so it goes in a
 * message of its own, before the link is up.
 */
function noLinkLocal(link: Link): Request {
  return {
    attempt: `keep link-local addresses off ${link.name}`,
    type: RTM_NEWLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, link.index, 0, 0);
      writer.nest(IFLA_AF_SPEC, (families) =>
        families.nest(AF_INET6, (inet6) => inet6.attrU8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)),
      );
    },
  };
}

/** What a link that was just created needs before packets pass. */
export function raiseLink(link: Link): Request[] {
  return [noLinkLocal(link), setLinkUp(link, true)];
}

/**
 * Brings an existing link to its name, address, size and queue, and writes no more of them than differ: an address
 * that is set, even to what it was, makes the kernel forget the link's neighbours, permanent ones too.
 */
export function setLink(end: QueuedEnd, from?: QueuedEnd): Request {
  return {
    attempt: `set link ${end.link.name}`,
    type: RTM_NEWLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, end.link.index, 0, 0);
      if (end.link.name !== from?.link.name) writer.attrString(IFLA_IFNAME, end.link.name);
      if (from === undefined || formatMac(end.mac) !== formatMac(from.mac)) writer.attr(IFLA_ADDRESS, end.mac);
      if (end.mtu !== from?.mtu) writer.attrU32(IFLA_MTU, end.mtu);
      const queue = end.transmitQueue;
      if (queue !== undefined && queue !== from?.transmitQueue) writer.attrU32(IFLA_TXQLEN, queue);
    },
  };
}

type QueuedEnd = LinkEnd & { readonly transmitQueue?: number };

export function setLinkUp(link: Link, up: boolean): Request {
  return {
    attempt: `set link ${link.name} ${up ? 'up' : 'down'}`,
    type: RTM_NEWLINK,
    flags: 0,
    write: (writer) => writeLinkHeader(writer, link.index, up ? IFF_UP : 0, IFF_UP),
  };
}

/** IFLA_INET_CONF nests values by number; in RTM_NEWLINK that creates a link the kernel refuses it. */
export function setForwarding(link: Link, on: boolean): Request {
  return {
    attempt: `set forwarding ${on ? 'on' : 'off'} for ${link.name}`,
    type: RTM_NEWLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, link.index, 0, 0);
      writer.nest(IFLA_AF_SPEC, (families) =>
        families.nest(AF_INET, (inet) =>
          inet.nest(IFLA_INET_CONF, (conf) => conf.attrU32(IPV4_DEVCONF_FORWARDING, on ? 1 : 0)),
        ),
      );
    },
  };
}

/** bytes; IFALIASZ of linux/if.h, less the closing zero that the kernel keeps with it */
const MAX_ALIAS = 255;

/**
 * Sets a link's alias, by which an owner finds it again; an empty one takes it away.
 *
 * @param link by its name where its index is 0
 * @throws InputError `invalid_alias` where it has more than 255 bytes
 */
export function setAlias(link: Link, alias: string): Request {
  const bytes = Buffer.from(alias);
  if (bytes.length > MAX_ALIAS) {
    const message = `Cannot set the alias of ${link.name}: it has ${bytes.length} bytes, the kernel keeps ${MAX_ALIAS}`;
    throw new InputError('invalid_alias', message);
  }
  return {
    attempt: `set the alias of ${link.name}`,
    type: RTM_NEWLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, link.index, 0, 0);
      if (link.index === 0) writer.attrString(IFLA_IFNAME, link.name);
      writer.attr(IFLA_IFALIAS, bytes);
    },
  };
}

/** It must be down. Where another has the name it keeps its own: EEXIST. */
export function renameLink(link: Link, name: string): Request {
  return {
    attempt: `name link ${link.name} ${name}`,
    type: RTM_NEWLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, link.index, 0, 0);
      writer.attrString(IFLA_IFNAME, name);
    },
  };
}

export function deleteLink(link: Link): Request {
  return {
    attempt: `delete link ${link.name}`,
    type: RTM_DELLINK,
    flags: 0,
    write: (writer) => writeLinkHeader(writer, link.index, 0, 0),
  };
}

/** An exclusive creation: a link that has the name or the index already is EEXIST, never taken over. */
export const CREATE_LINK = { type: RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL } as const;

/** Answered with the link, or ENODEV. */
export function getLink(link: Link): Request {
  return {
    attempt: `get link ${link.name}`,
    type: RTM_GETLINK,
    flags: 0,
    write: (writer) => writeLinkHeader(writer, link.index, 0, 0),
  };
}

/** The same by its name, or another name that it has. */
export function getLinkNamed(name: string): Request {
  return {
    attempt: `get link ${name}`,
    type: RTM_GETLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, 0, 0, 0);
      writer.attrString(IFLA_IFNAME, name);
    },
  };
}
