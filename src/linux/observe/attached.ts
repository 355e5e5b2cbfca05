import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';
import type { KernelObject, Link, NamespaceName } from '../../plan/state.ts';
import { type Attributes, readAttributes, readU32be, u32At, u32beAt, visitAttributes } from '../netlink/attribute.ts';
import type { Message, MessageWriter } from '../netlink/message.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import {
  AF_BRIDGE,
  AF_INET,
  AF_UNSPEC,
  IFA_LOCAL,
  NDA_DST,
  NDA_IFINDEX,
  NDA_LLADDR,
  NDA_PORT,
  NUD_NOARP,
  NUD_PERMANENT,
  RT_TABLE_MAIN,
  RT_TABLE_UNSPEC,
  RTA_DST,
  RTA_GATEWAY,
  RTA_METRICS,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_TABLE,
  RTAX_MTU,
  RTM_GETADDR,
  RTM_GETNEIGH,
  RTM_GETQDISC,
  RTM_GETROUTE,
  RTNH_F_ONLINK,
  RTPROT_KERNEL,
} from '../route/constants.ts';
import { getFdbEntry, getNeighbour, NDMSG_LENGTH } from '../route/neighbour.ts';
import { readShaper } from '../route/tbf.ts';
import { SyscallError } from '../syscall.ts';

/*
 * What hangs on links, a table at a time. Left out is what the kernel makes by itself (addresses and routes of the
 * loopback, connected routes, neighbours that ARP found) and what Culvert has no kind for.
 */

type Kind<K extends KernelObject['kind']> = Extract<KernelObject, { readonly kind: K }>;

/** The links of a namespace by index: what every other table refers to. What hangs on one that it does not know is left out. */
export type Links = { get(index: number): Link | undefined };

/** bytes of struct ifaddrmsg, struct rtmsg, struct tcmsg */
const IFADDRMSG_LENGTH = 8;
const RTMSG_LENGTH = 12;
const TCMSG_LENGTH = 20;

/** @param on where given, of this link only */
export function listAddresses(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  links: Links,
  on?: Link,
): Kind<'address'>[] {
  const write = (w: MessageWriter): void => {
    w.u8(AF_INET)
      .u8(0)
      .u16(0)
      .u32(on?.index ?? 0);
  };
  const request = { attempt: 'list addresses', type: RTM_GETADDR, flags: 0, write };
  const found = socket.dump(request, (message): Kind<'address'> | undefined => {
    const header = headerOf(message, IFADDRMSG_LENGTH);
    const link = links.get(header.getUint32(4, true));
    const local = readAttributes(message.body, IFADDRMSG_LENGTH).get(IFA_LOCAL);
    if (link === undefined || local === undefined) return undefined;
    const address = readU32be(local) as Ipv4;
    if (address >>> 24 === 127) return undefined;
    return { kind: 'address', namespace, link, address, length: header.getUint8(1) };
  });
  return found.filter((address) => address !== undefined);
}

export type RouteFilter = {
  /** over this link only */
  readonly on?: Link | undefined;
  /** of this table; of the main one where absent */
  readonly table?: number | undefined;
};

export function listRoutes(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  links: Links,
  { on, table }: RouteFilter = {},
): Kind<'route'>[] {
  const number = table ?? RT_TABLE_MAIN;
  const write = (w: MessageWriter): void => {
    w.u8(AF_INET).u8(0).u8(0).u8(0).u8(RT_TABLE_UNSPEC).u8(0).u8(0).u8(0).u32(0);
    w.attrU32(RTA_TABLE, number);
    if (on !== undefined) w.attrU32(RTA_OIF, on.index);
  };
  const read = ({ body }: Message): Kind<'route'> | undefined => readRoute(body, namespace, links, table);
  try {
    const found = socket.dump({ attempt: 'list routes', type: RTM_GETROUTE, flags: 0, write }, read);
    return found.filter((route) => route !== undefined);
  } catch (error) {
    // a table is not there before its first route, nor the main one before the first address
    if (error instanceof SyscallError && error.errnoName === 'ENOENT') return [];
    throw error;
  }
}

/** Of thousands that a host of a cluster has, one for each other. */
function readRoute(
  body: Uint8Array,
  namespace: NamespaceName,
  links: Links,
  wanted: number | undefined,
): Kind<'route'> | undefined {
  let destination = 0;
  let output: number | undefined;
  let via: number | undefined;
  let source: number | undefined;
  let table: number | undefined;
  let mtu: number | undefined;
  visitAttributes(body, RTMSG_LENGTH, (type, begin, end) => {
    if (type === RTA_DST) destination = u32beAt(body, begin, end);
    else if (type === RTA_OIF) output = u32At(body, begin, end);
    else if (type === RTA_GATEWAY) via = u32beAt(body, begin, end);
    else if (type === RTA_PREFSRC) source = u32beAt(body, begin, end);
    else if (type === RTA_TABLE) table = u32At(body, begin, end);
    else if (type === RTA_METRICS) mtu = mtuIn(body.subarray(begin, end));
  });
  const [, length = 0, , , , protocol] = body;
  const link = output === undefined ? undefined : links.get(output);
  if (link === undefined || table !== (wanted ?? RT_TABLE_MAIN) || protocol === RTPROT_KERNEL) return undefined;
  return {
    kind: 'route',
    namespace,
    destination: { address: destination as Ipv4, length },
    link,
    ...(via === undefined ? {} : { via: via as Ipv4 }),
    ...(source === undefined ? {} : { source: source as Ipv4 }),
    ...((u32At(body, FLAGS, FLAGS + 4) & RTNH_F_ONLINK) === 0 ? {} : { onlink: true as const }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(wanted === undefined ? {} : { table: wanted }),
  };
}

/** Where struct rtmsg has its flags. */
const FLAGS = 8;

function mtuIn(metrics: Uint8Array): number | undefined {
  const mtu = readAttributes(metrics).get(RTAX_MTU);
  return mtu === undefined ? undefined : u32At(mtu, 0, mtu.length);
}

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
