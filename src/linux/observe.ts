import type { Ipv4 } from '../addr/ipv4.ts';
import type { Mac } from '../addr/mac.ts';
import type { KernelObject, Link, LinkEnd, NamespaceName } from '../plan/state.ts';
import { type Attributes, readAttributes, readString, readU32, readU32be } from './netlink/attribute.ts';
import { type Message, type MessageWriter } from './netlink/message.ts';
import type { NetlinkSocket } from './netlink/socket.ts';
import {
  AF_BRIDGE,
  AF_INET,
  AF_UNSPEC,
  IFA_LOCAL,
  IFF_LOOPBACK,
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_BRPORT_ISOLATED,
  IFLA_BRPORT_LEARNING,
  IFLA_BRPORT_NEIGH_SUPPRESS,
  IFLA_EXT_MASK,
  IFLA_IFNAME,
  IFLA_INET_CONF,
  IFLA_INFO_KIND,
  IFLA_INFO_SLAVE_DATA,
  IFLA_LINK,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_TXQLEN,
  IPV4_DEVCONF_FORWARDING,
  NDA_DST,
  NDA_LLADDR,
  NUD_NOARP,
  NUD_PERMANENT,
  RT_TABLE_MAIN,
  RTA_DST,
  RTA_GATEWAY,
  RTA_OIF,
  RTA_PREFSRC,
  RTEXT_FILTER_SKIP_STATS,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETNEIGH,
  RTM_GETQDISC,
  RTM_GETROUTE,
  RTPROT_KERNEL,
} from './route/constants.ts';
import { getNeighbour, NDMSG_LENGTH, type Neighbour } from './route/neighbour.ts';
import { readShaper } from './route/tbf.ts';
import { SyscallError } from './syscall.ts';

/** One end of a pair as its own namespace shows it; the other end is a link of this index in another one. */
export type HalfVeth = { readonly end: LinkEnd; readonly peerIndex: number };

export type NamespaceState = {
  /** All but pairs, whose other ends are elsewhere. */
  readonly objects: readonly KernelObject[];
  readonly halves: readonly HalfVeth[];
  /** Every link, of whatever kind, and its MTU in bytes. */
  readonly links: readonly { readonly link: Link; readonly mtu: number }[];
};

/** The links of a namespace by index: what every other table refers to. */
type Links = ReadonlyMap<number, Link>;

/**
 * Reads what a namespace holds into the shape that plans are made of: five dumps. Left out is what the kernel makes by
 * itself (addresses and routes of the loopback, connected routes, neighbours that ARP found) and what Culvert has no
 * kind for.
 *
 * @param neighbours where given, only these are looked for, one by one: a dump walks the neighbours of all namespaces
 *   of the machine, since they stand in one table
 */
export function observeNamespace(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  neighbours?: readonly Neighbour[],
): NamespaceState {
  const objects: KernelObject[] = [{ kind: 'namespace', namespace }];
  const halves: HalfVeth[] = [];
  const links = new Map<number, Link>();
  const raw = dump(
    socket,
    'list links',
    RTM_GETLINK,
    // counters are most of what a link tells
    (writer) => writer.u8(AF_UNSPEC).u8(0).u16(0).u32(0).u32(0).u32(0).attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS),
    16,
  );
  for (const { header, attributes } of raw) {
    links.set(header.getInt32(4, true), linkOf(header, attributes));
  }
  for (const { header, attributes } of raw) readLink(namespace, header, attributes, links, objects, halves);
  readAddresses(socket, namespace, links, objects);
  readRoutes(socket, namespace, links, objects);
  if (neighbours === undefined) readNeighbours(socket, namespace, links, objects);
  else objects.push(...findNeighbours(socket, neighbours));
  readQdiscs(socket, namespace, links, objects);
  const sizes = raw.map(({ header, attributes }) => ({
    link: linkOf(header, attributes),
    mtu: number(attributes, IFLA_MTU),
  }));
  return { objects, halves, links: sizes };
}

/** Puts the halves of all namespaces together. A half whose other end is in none of them is no object of ours. */
export function joinVeths(halves: readonly HalfVeth[], nearest: NamespaceName): KernelObject[] {
  const near = new Map<number, HalfVeth>();
  for (const half of halves) if (half.end.namespace === nearest) near.set(half.end.link.index, half);
  const pairs: KernelObject[] = [];
  for (const half of halves) {
    const other = near.get(half.peerIndex);
    if (half.end.namespace === nearest || other?.peerIndex !== half.end.link.index) continue;
    pairs.push({ kind: 'veth', peer: half.end, ...other.end });
  }
  return pairs;
}

type Entry = { readonly header: DataView; readonly attributes: Attributes };

function dump(
  socket: NetlinkSocket,
  attempt: string,
  type: number,
  write: (writer: MessageWriter) => void,
  headerLength: number,
): Entry[] {
  return socket.dump({ attempt, type, flags: 0, write }, readEntry(headerLength));
}

function readEntry(headerLength: number): (message: Message) => Entry {
  return (message) => {
    // the receive buffer is used again for the next datagram
    const body = message.body.slice();
    return { header: new DataView(body.buffer), attributes: readAttributes(body, headerLength) };
  };
}

function linkOf(header: DataView, attributes: Attributes): Link {
  return { name: readString(attributes.get(IFLA_IFNAME) ?? new Uint8Array()), index: header.getInt32(4, true) };
}

function readLink(
  namespace: NamespaceName,
  header: DataView,
  attributes: Attributes,
  links: Links,
  objects: KernelObject[],
  halves: HalfVeth[],
): void {
  const link = linkOf(header, attributes);
  const flags = header.getUint32(8, true);
  const up = (flags & IFF_UP) !== 0;
  if ((flags & IFF_LOOPBACK) !== 0) {
    if (up) objects.push({ kind: 'loopback', namespace });
    return;
  }
  const info = nested(attributes, IFLA_LINKINFO);
  const mac = (attributes.get(IFLA_ADDRESS) ?? new Uint8Array(6)) as Mac;
  const end: LinkEnd = { namespace, link, mac, mtu: number(attributes, IFLA_MTU), up };
  const kind = info.get(IFLA_INFO_KIND);
  switch (kind === undefined ? undefined : readString(kind)) {
    case 'veth':
      halves.push({ end, peerIndex: number(attributes, IFLA_LINK) });
      break;
    case 'tun':
      objects.push({ kind: 'tap', ...end, transmitQueue: number(attributes, IFLA_TXQLEN) });
      break;
    case 'bridge':
      objects.push({ kind: 'bridge', ...end });
      break;
  }
  if (isForwarding(attributes)) objects.push({ kind: 'forwarding', namespace, link });
  const bridge = links.get(number(attributes, IFLA_MASTER));
  if (bridge !== undefined) {
    const port = nested(info, IFLA_INFO_SLAVE_DATA);
    const has = (type: number, value: number): boolean => port.get(type)?.[0] === value;
    const isOurs = has(IFLA_BRPORT_ISOLATED, 1) && has(IFLA_BRPORT_LEARNING, 0) && has(IFLA_BRPORT_NEIGH_SUPPRESS, 1);
    // a port that is not isolated is as good as none: the plan then makes it one
    if (isOurs) objects.push({ kind: 'port', namespace, link, bridge });
  }
}

/** IFLA_INET_CONF is, in this direction, an array of 32-bit values in the order of IPV4_DEVCONF_*, which start at 1. */
function isForwarding(attributes: Attributes): boolean {
  const conf = nested(nested(attributes, IFLA_AF_SPEC), AF_INET).get(IFLA_INET_CONF);
  const at = (IPV4_DEVCONF_FORWARDING - 1) * 4;
  return conf !== undefined && conf.length >= at + 4 && readU32(conf.subarray(at)) !== 0;
}

function readAddresses(socket: NetlinkSocket, namespace: NamespaceName, links: Links, objects: KernelObject[]): void {
  for (const { header, attributes } of dump(
    socket,
    'list addresses',
    RTM_GETADDR,
    (w) => w.u8(AF_INET).u8(0).u16(0).u32(0),
    8,
  )) {
    const link = links.get(header.getUint32(4, true));
    const local = attributes.get(IFA_LOCAL);
    if (link === undefined || local === undefined) continue;
    const address = readU32be(local) as Ipv4;
    if (address >>> 24 === 127) continue;
    objects.push({ kind: 'address', namespace, link, address, length: header.getUint8(1) });
  }
}

function readRoutes(socket: NetlinkSocket, namespace: NamespaceName, links: Links, objects: KernelObject[]): void {
  const write = (w: MessageWriter): void => {
    w.u8(AF_INET).u8(0).u8(0).u8(0).u8(RT_TABLE_MAIN).u8(0).u8(0).u8(0).u32(0);
  };
  for (const { header, attributes } of dumpRoutes(socket, write)) {
    const link = links.get(number(attributes, RTA_OIF));
    if (link === undefined || header.getUint8(4) !== RT_TABLE_MAIN || header.getUint8(5) === RTPROT_KERNEL) continue;
    const via = attributes.get(RTA_GATEWAY);
    const source = attributes.get(RTA_PREFSRC);
    const address = attributes.get(RTA_DST);
    objects.push({
      kind: 'route',
      namespace,
      destination: { address: (address === undefined ? 0 : readU32be(address)) as Ipv4, length: header.getUint8(1) },
      link,
      ...(via === undefined ? {} : { via: readU32be(via) as Ipv4 }),
      ...(source === undefined ? {} : { source: readU32be(source) as Ipv4 }),
    });
  }
}

/** A namespace has no table before its first address. */
function dumpRoutes(socket: NetlinkSocket, write: (writer: MessageWriter) => void): Entry[] {
  try {
    return dump(socket, 'list routes', RTM_GETROUTE, write, 12);
  } catch (error) {
    if (error instanceof SyscallError && error.errnoName === 'ENOENT') return [];
    throw error;
  }
}

function readNeighbours(socket: NetlinkSocket, namespace: NamespaceName, links: Links, objects: KernelObject[]): void {
  for (const family of [AF_INET, AF_BRIDGE]) {
    const write = (w: MessageWriter): void => void w.u8(family).u8(0).u16(0).u32(0).u16(0).u8(0).u8(0);
    for (const { header, attributes } of dump(socket, 'list neighbours', RTM_GETNEIGH, write, NDMSG_LENGTH)) {
      const link = links.get(header.getUint32(4, true));
      const mac = attributes.get(NDA_LLADDR) as Mac | undefined;
      const state = header.getUint16(8, true);
      const address = attributes.get(NDA_DST);
      if (link === undefined || mac === undefined) continue;
      if (family === AF_BRIDGE) {
        if (state === NUD_NOARP) objects.push({ kind: 'fdb', namespace, link, mac });
      } else if (state === NUD_PERMANENT && address !== undefined) {
        objects.push({ kind: 'neighbour', namespace, link, address: readU32be(address) as Ipv4, mac });
      }
    }
    // only a namespace with a bridge has a forwarding database
    if (!objects.some((object) => object.kind === 'bridge')) break;
  }
}

/** Those that are permanent, with the address that they have now. */
function findNeighbours(socket: NetlinkSocket, wanted: readonly Neighbour[]): Neighbour[] {
  const answers = socket.ask(wanted.map(getNeighbour), readEntry(NDMSG_LENGTH));
  return wanted.flatMap((neighbour, index) => {
    const found = answers[index];
    if (found instanceof SyscallError) {
      // no such neighbour, or no such link
      if (found.errnoName === 'ENOENT' || found.errnoName === 'ENODEV') return [];
      throw found;
    }
    const mac = found?.attributes.get(NDA_LLADDR) as Mac | undefined;
    return mac === undefined || found?.header.getUint16(8, true) !== NUD_PERMANENT ? [] : { ...neighbour, mac };
  });
}

function readQdiscs(socket: NetlinkSocket, namespace: NamespaceName, links: Links, objects: KernelObject[]): void {
  const write = (w: MessageWriter): void => {
    w.u8(AF_UNSPEC).u8(0).u16(0).u32(0).u32(0).u32(0).u32(0);
  };
  for (const { header, attributes } of dump(socket, 'list queueing disciplines', RTM_GETQDISC, write, 20)) {
    const link = links.get(header.getInt32(4, true));
    const shape = link === undefined ? undefined : readShaper(attributes);
    if (link !== undefined && shape !== undefined) objects.push({ kind: 'shaper', namespace, link, ...shape });
  }
}

function nested(attributes: Attributes, type: number): Attributes {
  const bytes = attributes.get(type);
  return bytes === undefined ? new Map() : readAttributes(bytes);
}

/** 0 where the attribute is absent: no index, size or queue that means anything is 0. */
function number(attributes: Attributes, type: number): number {
  const bytes = attributes.get(type);
  return bytes === undefined ? 0 : readU32(bytes);
}
