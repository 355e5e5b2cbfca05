import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';
import type { KernelObject, Link, NamespaceName } from '../../plan/state.ts';
import { type Attributes, readAttributes, readU32be } from '../netlink/attribute.ts';
import type { Message, MessageWriter } from '../netlink/message.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import {
  AF_BRIDGE,
  AF_INET,
  AF_UNSPEC,
  NDA_DST,
  NDA_IFINDEX,
  NDA_LLADDR,
  NDA_PORT,
  NUD_NOARP,
  NUD_PERMANENT,
  RTM_GETNEIGH,
  RTM_GETQDISC,
} from '../route/constants.ts';
import { getFdbEntry, getNeighbour, NDMSG_LENGTH } from '../route/neighbour.ts';
import { readShaper } from '../route/tbf.ts';
import { SyscallError } from '../syscall.ts';

/*
 * What hangs on links, a table at a time. Left out is what the kernel makes by itself (neighbours that ARP found) and what
 * Culvert has no kind for.
 */

type Kind<K extends KernelObject['kind']> = Extract<KernelObject, { readonly kind: K }>;

/** The links of a namespace by index: what every other table refers to. What hangs on one that it does not know is left out. */
export type Links = { get(index: number): Link | undefined };

/** bytes of struct tcmsg */
const TCMSG_LENGTH = 20;

/**
 * The permanent ones. A dump walks the neighbours of all namespaces of the machine, since they stand in one table.
 *
 * @param on where given, of this link only
 */
export function listNeighbours(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  links: Links,
  on?: Link,
): Kind<'neighbour'>[] {
  return dumpNeighbours(socket, AF_INET, on, (header, attributes) => {
    const link = links.get(header.getUint32(4, true));
    const mac = macIn(attributes);
    const address = addressIn(attributes, NDA_DST);
    if (link === undefined || mac === undefined || address === undefined) return undefined;
    if (header.getUint16(8, true) !== NUD_PERMANENT) return undefined;
    return { kind: 'neighbour', namespace, link, address, mac };
  });
}

/** The static entries of the forwarding databases of a namespace's bridges. */
export function listFdbEntries(socket: NetlinkSocket, namespace: NamespaceName, links: Links): Kind<'fdb'>[] {
  return dumpNeighbours(socket, AF_BRIDGE, undefined, (header, attributes) => {
    const link = links.get(header.getUint32(4, true));
    const mac = macIn(attributes);
    if (link === undefined || mac === undefined || header.getUint16(8, true) !== NUD_NOARP) return undefined;
    return { kind: 'fdb', namespace, link, mac };
  });
}

/**
 * The entries of a VXLAN's forwarding database, whoever made them.
 *
 * @param port its own, which is that of every entry that has none
 */
export function listRemotes(socket: NetlinkSocket, namespace: NamespaceName, link: Link, port: number): Kind<'fdb'>[] {
  return dumpNeighbours(socket, AF_BRIDGE, link, (header, attributes) => {
    const mac = macIn(attributes);
    const address = addressIn(attributes, NDA_DST);
    const own = attributes.get(NDA_PORT);
    if (mac === undefined || address === undefined || header.getUint32(4, true) !== link.index) return undefined;
    const remote = { address, port: own === undefined ? port : ((own[0] ?? 0) << 8) | (own[1] ?? 0) };
    return { kind: 'fdb', namespace, link, mac, remote };
  });
}

function dumpNeighbours<T>(
  socket: NetlinkSocket,
  family: number,
  on: Link | undefined,
  read: (header: DataView, attributes: Attributes) => T | undefined,
): T[] {
  const write = (w: MessageWriter): void => {
    w.u8(family).u8(0).u16(0).u32(0).u16(0).u8(0).u8(0);
    if (on !== undefined) w.attrU32(NDA_IFINDEX, on.index);
  };
  const request = { attempt: 'list neighbours', type: RTM_GETNEIGH, flags: 0, write };
  const found = socket.dump(request, (message) =>
    read(headerOf(message, NDMSG_LENGTH), readAttributes(message.body, NDMSG_LENGTH)),
  );
  return found.filter((neighbour) => neighbour !== undefined);
}

/** Those of the neighbours that are there and permanent, each with the address that it has now. */
export function findNeighbours(socket: NetlinkSocket, wanted: readonly Kind<'neighbour'>[]): Kind<'neighbour'>[] {
  const answers = socket.ask(wanted.map(getNeighbour), (message) => ({
    isPermanent: headerOf(message, NDMSG_LENGTH).getUint16(8, true) === NUD_PERMANENT,
    mac: macIn(readAttributes(message.body, NDMSG_LENGTH)),
  }));
  return wanted.flatMap((neighbour, index) => {
    const found = present(answers[index]);
    return found?.mac === undefined || !found.isPermanent ? [] : { ...neighbour, mac: found.mac };
  });
}

/** Those of the forwarding entries that are there, static, on the same link. */
export function findFdbEntries(socket: NetlinkSocket, wanted: readonly Kind<'fdb'>[]): Kind<'fdb'>[] {
  const answers = socket.ask(wanted.map(getFdbEntry), (message) => {
    const header = headerOf(message, NDMSG_LENGTH);
    return { index: header.getUint32(4, true), isStatic: header.getUint16(8, true) === NUD_NOARP };
  });
  return wanted.filter((entry, index) => {
    const found = present(answers[index], NO_ENTRY);
    return found?.isStatic === true && found.index === entry.link.index;
  });
}

export function listShapers(socket: NetlinkSocket, namespace: NamespaceName, links: Links): Kind<'shaper'>[] {
  const write = (w: MessageWriter): void => {
    w.u8(AF_UNSPEC).u8(0).u16(0).u32(0).u32(0).u32(0).u32(0);
  };
  const request = { attempt: 'list queueing disciplines', type: RTM_GETQDISC, flags: 0, write };
  const found = socket.dump(request, (message): Kind<'shaper'> | undefined => {
    const link = links.get(headerOf(message, TCMSG_LENGTH).getInt32(4, true));
    const shape = link === undefined ? undefined : readShaper(readAttributes(message.body, TCMSG_LENGTH));
    return link === undefined || shape === undefined ? undefined : { kind: 'shaper', namespace, link, ...shape };
  });
  return found.filter((shaper) => shaper !== undefined);
}

/** No such object, or not even its link. */
const ABSENT: readonly string[] = ['ENOENT', 'ENODEV'];
/** Or the link is no port of a bridge. */
const NO_ENTRY = [...ABSENT, 'EINVAL'];

/** What was asked for; undefined where it is not there. */
function present<T>(answer: T | SyscallError | undefined, absent = ABSENT): T | undefined {
  if (!(answer instanceof SyscallError)) return answer;
  if (absent.includes(answer.errnoName)) return undefined;
  throw answer;
}

function headerOf({ body }: Message, length: number): DataView {
  return new DataView(body.buffer, body.byteOffset, length);
}

/** A copy: the receive buffer is used again for the next datagram. */
function macIn(attributes: Attributes): Mac | undefined {
  return attributes.get(NDA_LLADDR)?.slice() as Mac | undefined;
}

function addressIn(attributes: Attributes, type: number): Ipv4 | undefined {
  const bytes = attributes.get(type);
  return bytes === undefined ? undefined : (readU32be(bytes) as Ipv4);
}
