import type { Mac } from '../../addr/mac.ts';
import { type KernelObject, type Link, type LinkEnd, type NamespaceName, ROOT } from '../../plan/state.ts';
import { type Attributes, readAttributes, readString, readU32 } from '../netlink/attribute.ts';
import type { Message, MessageWriter } from '../netlink/message.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import {
  AF_INET,
  AF_UNSPEC,
  IFF_LOOPBACK,
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_BRPORT_ISOLATED,
  IFLA_BRPORT_LEARNING,
  IFLA_BRPORT_NEIGH_SUPPRESS,
  IFLA_EXT_MASK,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INET_CONF,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_INFO_SLAVE_DATA,
  IFLA_LINK,
  IFLA_LINK_NETNSID,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_QDISC,
  IFLA_TXQLEN,
  IPV4_DEVCONF_FORWARDING,
  RTEXT_FILTER_SKIP_STATS,
  RTM_GETLINK,
} from '../route/constants.ts';
import { getLink, getLinkNamed } from '../route/link.ts';
import { readVxlan } from '../route/vxlan.ts';
import { SyscallError } from '../syscall.ts';

/** One end of a pair as its own namespace shows it; the other end is a link of this index in another one. */
export type HalfVeth = { readonly end: LinkEnd; readonly peerIndex: number };

/** A link as one message tells of it. */
export type SeenLink = {
  readonly end: LinkEnd;
  readonly isLoopback: boolean;
  /** as in `ip link add type`, undefined where the kernel names none */
  readonly kind: string | undefined;
  /** its owner's mark; empty where it has none */
  readonly alias: string;
  readonly peerIndex: number;
  readonly transmitQueue: number;
  readonly isForwarding: boolean;
  /** of the bridge that it is a port of as Culvert makes ports; 0 for every other link */
  readonly bridgeIndex: number;
  /** of its root queueing discipline, such as `tbf` */
  readonly discipline: string;
  /** of a VXLAN that is as Culvert makes them */
  readonly vxlan?: { readonly vni: number; readonly port: number };
};

/** Of the fifty attributes that a link has: what is not read is not kept. */
const READ = new Set([
  IFLA_ADDRESS,
  IFLA_IFNAME,
  IFLA_MTU,
  IFLA_LINK,
  IFLA_QDISC,
  IFLA_MASTER,
  IFLA_TXQLEN,
  IFLA_LINKINFO,
  IFLA_AF_SPEC,
  IFLA_IFALIAS,
  IFLA_LINK_NETNSID,
]);
/** bytes of struct ifinfomsg */
const IFINFOMSG_LENGTH = 16;

/** Every link of a namespace. */
export function listLinks(socket: NetlinkSocket, namespace: NamespaceName): SeenLink[] {
  // counters are most of what a link tells
  const write = (writer: MessageWriter): void => {
    writer.u8(AF_UNSPEC).u8(0).u16(0).u32(0).u32(0).u32(0).attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  };
  return socket.dump({ attempt: 'list links', type: RTM_GETLINK, flags: 0, write }, (message) =>
    readLink(message, namespace),
  );
}

/** Those of the links that are there, each asked for by its index. */
export function findLinks(socket: NetlinkSocket, namespace: NamespaceName, links: readonly Link[]): SeenLink[] {
  return find(socket, namespace, links.map(getLink));
}

/** The link of this name; undefined where there is none. */
export function findLinkNamed(socket: NetlinkSocket, namespace: NamespaceName, name: string): SeenLink | undefined {
  return find(socket, namespace, [getLinkNamed(name)])[0];
}

function find(socket: NetlinkSocket, namespace: NamespaceName, requests: readonly Request[]): SeenLink[] {
  return socket
    .ask(requests, (message) => readLink(message, namespace))
    .flatMap((answer) => {
      if (!(answer instanceof SyscallError)) return answer ?? [];
      if (answer.errnoName === 'ENODEV') return [];
      throw answer;
    });
}

function readLink(message: Message, namespace: NamespaceName): SeenLink {
  const { body } = message;
  const header = new DataView(body.buffer, body.byteOffset, IFINFOMSG_LENGTH);
  const attributes = readAttributes(body, IFINFOMSG_LENGTH, READ);
  const flags = header.getUint32(8, true);
  const info = nested(attributes, IFLA_LINKINFO);
  const kind = info.get(IFLA_INFO_KIND);
  // one that sends from the namespace that it is in was not born outside
  const isOutside = attributes.has(IFLA_LINK_NETNSID);
  const vxlan =
    isOutside && kind !== undefined && readString(kind) === 'vxlan'
      ? readVxlan(nested(info, IFLA_INFO_DATA))
      : undefined;
  return {
    end: {
      namespace,
      link: { name: text(attributes, IFLA_IFNAME), index: header.getInt32(4, true) },
      // the receive buffer is used again for the next datagram
      mac: (attributes.get(IFLA_ADDRESS)?.slice() ?? new Uint8Array(6)) as Mac,
      mtu: number(attributes, IFLA_MTU),
      up: (flags & IFF_UP) !== 0,
    },
    isLoopback: (flags & IFF_LOOPBACK) !== 0,
    kind: kind === undefined ? undefined : readString(kind),
    alias: text(attributes, IFLA_IFALIAS),
    peerIndex: number(attributes, IFLA_LINK),
    transmitQueue: number(attributes, IFLA_TXQLEN),
    isForwarding: isForwarding(attributes),
    // a port that is not isolated is as good as none: the plan then makes it one
    bridgeIndex: isOurPort(nested(info, IFLA_INFO_SLAVE_DATA)) ? number(attributes, IFLA_MASTER) : 0,
    discipline: text(attributes, IFLA_QDISC),
    ...(vxlan === undefined ? {} : { vxlan }),
  };
}

/** IFLA_INET_CONF is, in this direction, an array of 32-bit values in the order of IPV4_DEVCONF_*, which start at 1. */
function isForwarding(attributes: Attributes): boolean {
  const conf = nested(nested(attributes, IFLA_AF_SPEC), AF_INET).get(IFLA_INET_CONF);
  const at = (IPV4_DEVCONF_FORWARDING - 1) * 4;
  return conf !== undefined && conf.length >= at + 4 && readU32(conf.subarray(at)) !== 0;
}

function isOurPort(port: Attributes): boolean {
  const has = (type: number, value: number): boolean => port.get(type)?.[0] === value;
  return has(IFLA_BRPORT_ISOLATED, 1) && has(IFLA_BRPORT_LEARNING, 0) && has(IFLA_BRPORT_NEIGH_SUPPRESS, 1);
}

/** What is seen of links, in the shape that plans are made of; pairs by halves, since each spans two namespaces. */
export function linkObjects(
  namespace: NamespaceName,
  seen: readonly SeenLink[],
): { readonly objects: KernelObject[]; readonly halves: HalfVeth[] } {
  const objects: KernelObject[] = [];
  const halves: HalfVeth[] = [];
  const byIndex = new Map(seen.map(({ end }) => [end.link.index, end.link]));
  for (const { end, isLoopback, kind, peerIndex, transmitQueue, ...other } of seen) {
    const { link } = end;
    if (isLoopback) {
      if (end.up) objects.push({ kind: 'loopback', namespace });
      continue;
    }
    switch (kind) {
      case 'veth':
        halves.push({ end, peerIndex });
        break;
      case 'tun':
        objects.push({ kind: 'tap', ...end, transmitQueue });
        break;
      case 'bridge':
        objects.push({ kind: 'bridge', ...end });
        break;
      case 'vxlan':
        // one that is not as ours are is as good as another: the plan then puts ours in its place
        objects.push({ kind: 'vxlan', ...end, outside: ROOT, ...(other.vxlan ?? { vni: 0, port: 0 }) });
        break;
    }
    if (other.isForwarding) objects.push({ kind: 'forwarding', namespace, link });
    const bridge = byIndex.get(other.bridgeIndex);
    if (bridge !== undefined) objects.push({ kind: 'port', namespace, link, bridge });
  }
  return { objects, halves };
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

function nested(attributes: Attributes, type: number): Attributes {
  const bytes = attributes.get(type);
  return bytes === undefined ? NONE : readAttributes(bytes);
}

const NONE: Attributes = new Map();

function text(attributes: Attributes, type: number): string {
  const bytes = attributes.get(type);
  return bytes === undefined ? '' : readString(bytes);
}

/** 0 where the attribute is absent: no index, size or queue that means anything is 0. */
function number(attributes: Attributes, type: number): number {
  const bytes = attributes.get(type);
  return bytes === undefined ? 0 : readU32(bytes);
}
