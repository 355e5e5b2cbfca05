import { formatIpv4 } from '../../addr/ipv4.ts';
import { formatMac } from '../../addr/mac.ts';
import type { KernelObject } from '../../plan/state.ts';
import { NLM_F_CREATE, NLM_F_REPLACE } from '../netlink/constants.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import {
  AF_BRIDGE,
  AF_INET,
  NDA_DST,
  NDA_LLADDR,
  NDA_PORT,
  NTF_MASTER,
  NTF_SELF,
  NUD_NOARP,
  NUD_PERMANENT,
  RTM_DELNEIGH,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
} from './constants.ts';

export type Neighbour = Extract<KernelObject, { kind: 'neighbour' }>;
export type FdbEntry = Extract<KernelObject, { kind: 'fdb' }>;

/** A neighbour that ARP may have found by itself is made permanent: creation here replaces. */
export function newNeighbour(neighbour: Neighbour): Request {
  return { ...neighbourMessage('add', neighbour), type: RTM_NEWNEIGH, flags: NLM_F_CREATE | NLM_F_REPLACE };
}

export function deleteNeighbour(neighbour: Neighbour): Request {
  return { ...neighbourMessage('delete', neighbour), type: RTM_DELNEIGH, flags: 0 };
}

/** Answered with the neighbour, ENOENT, or ENODEV where there is no such link. */
export function getNeighbour({ address, link }: Neighbour): Request {
  return {
    attempt: `get neighbour ${formatIpv4(address)} on ${link.name}`,
    type: RTM_GETNEIGH,
    flags: 0,
    write(writer) {
      writeHeader(writer, AF_INET, link.index, 0, 0);
      writer.attrU32be(NDA_DST, address);
    },
  };
}

/** Answered with the entry, ENOENT, or EINVAL where the link is no port of a bridge. */
export function getFdbEntry({ mac, link }: FdbEntry): Request {
  return {
    attempt: `get forwarding entry ${formatMac(mac)} on ${link.name}`,
    type: RTM_GETNEIGH,
    flags: 0,
    write(writer) {
      writeHeader(writer, AF_BRIDGE, link.index, 0, NTF_MASTER);
      writer.attr(NDA_LLADDR, mac);
    },
  };
}

export function newFdbEntry(entry: FdbEntry): Request {
  return { ...fdbMessage('add', entry), type: RTM_NEWNEIGH, flags: NLM_F_CREATE | NLM_F_REPLACE };
}

export function deleteFdbEntry(entry: FdbEntry): Request {
  return { ...fdbMessage('delete', entry), type: RTM_DELNEIGH, flags: 0 };
}

/** bytes of struct ndmsg */
export const NDMSG_LENGTH = 12;

function writeHeader(writer: MessageWriter, family: number, index: number, state: number, flags: number): void {
  writer.u8(family).u8(0).u16(0).u32(index).u16(state).u8(flags).u8(0);
}

function neighbourMessage(verb: string, { address, mac, link }: Neighbour): Pick<Request, 'attempt' | 'write'> {
  return {
    attempt: `${verb} neighbour ${formatIpv4(address)} on ${link.name}`,
    write(writer) {
      writeHeader(writer, AF_INET, link.index, NUD_PERMANENT, 0);
      writer.attrU32be(NDA_DST, address).attr(NDA_LLADDR, mac);
    },
  };
}

/**
 * The bridge's own words: NUD_NOARP is a static entry, NUD_PERMANENT would make the address the bridge's own. A VXLAN
 * has a database by itself, and its entries are NUD_PERMANENT.
 */
function fdbMessage(verb: string, { mac, link, remote }: FdbEntry): Pick<Request, 'attempt' | 'write'> {
  return {
    attempt: `${verb} forwarding entry ${formatMac(mac)} on ${link.name}`,
    write(writer) {
      if (remote === undefined) writeHeader(writer, AF_BRIDGE, link.index, NUD_NOARP, NTF_MASTER);
      else writeHeader(writer, AF_BRIDGE, link.index, NUD_PERMANENT, NTF_SELF);
      writer.attr(NDA_LLADDR, mac);
      if (remote !== undefined) writer.attrU32be(NDA_DST, remote.address).attrU16be(NDA_PORT, remote.port);
    },
  };
}
