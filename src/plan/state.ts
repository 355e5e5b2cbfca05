import { type Ip, isIpv6 } from '../addr/ip.ts';
import { formatIpPrefix, type IpPrefix } from '../addr/ip-prefix.ts';
import type { Ipv4 } from '../addr/ipv4.ts';
import { formatMac, type Mac } from '../addr/mac.ts';

/*
 * The kernel's objects as plain data: what a network should be, and what it is, have this one shape.
 *
 * An object's identity (see objectKey) is what the kernel calls EEXIST on; everything else about it can be changed
 * in place. Links are named together with their index: indexes are derived from the slot, so a plan needs no replies.
 */

/** A network namespace by its pin's name; `root` is the one the daemon started in. */
export type NamespaceName = string;

export const ROOT: NamespaceName = 'root';
export const ROUTER: NamespaceName = 'router';

export type Link = { readonly name: string; readonly index: number };

export const LOOPBACK: Link = { name: 'lo', index: 1 };

/** Of addresses, in the words of ip(8). */
export type Family = 'inet' | 'inet6';

/** What becomes of packets that a route leads nowhere: the sender is told so, or not. */
export type DeadEnd = 'unreachable' | 'blackhole';

/** Of a packet; `mask` has the bits that are looked at, all 32 where it is absent. */
type Mark = { readonly value: number; readonly mask?: number };

export type LinkEnd = {
  readonly namespace: NamespaceName;
  readonly link: Link;
  readonly mac: Mac;
  /** bytes */
  readonly mtu: number;
  readonly up: boolean;
};

/** Frames that come in by the link with any other source address are dropped. */
export type Guard = {
  readonly kind: 'guard';
  readonly namespace: NamespaceName;
  readonly link: Link;
  readonly mac: Mac;
};

export type KernelObject =
  | Guard
  | { readonly kind: 'namespace'; readonly namespace: NamespaceName }
  /** A pair, made at once with both ends up; `peer` is born in its own namespace, never moved. */
  | ({ readonly kind: 'veth'; readonly peer: LinkEnd } & LinkEnd)
  | ({
      readonly kind: 'tap';
      /** packets; IFLA_TXQLEN */
      readonly transmitQueue: number;
    } & LinkEnd)
  | ({ readonly kind: 'bridge' } & LinkEnd)
  /**
   * A tunnel in clear. Born in the namespace `outside`, its UDP packets come and go there. It learns nothing: a frame
   * leaves for the host that the forwarding database has for it, or not at all; and what leaves is never fragmented.
   */
  | ({
      readonly kind: 'vxlan';
      readonly outside: NamespaceName;
      /** VXLAN network identifier */
      readonly vni: number;
      /** of UDP, its own and where nothing else is said everybody's */
      readonly port: number;
    } & LinkEnd)
  /** A link made a port of a bridge: isolated, learning nothing, spared from ARP that is meant for all. */
  | { readonly kind: 'port'; readonly namespace: NamespaceName; readonly link: Link; readonly bridge: Link }
  /** A static entry of a forwarding database: frames to `mac` leave by `link`, a port of a bridge or a VXLAN. */
  | {
      readonly kind: 'fdb';
      readonly namespace: NamespaceName;
      readonly link: Link;
      readonly mac: Mac;
      /** of a VXLAN, and of it alone: the host that they go to, and its UDP port */
      readonly remote?: { readonly address: Ipv4; readonly port: number };
    }
  | { readonly kind: 'loopback'; readonly namespace: NamespaceName }
  | {
      readonly kind: 'address';
      readonly namespace: NamespaceName;
      readonly link: Link;
      readonly address: Ip;
      /** of the prefix, 0 to 32 or 128 */
      readonly length: number;
      /**
       * Of IPv6: it is used at once. Else it is not before the link is asked whether it is another's, which where links
       * have no neighbours, as tunnels, takes but a moment, but in that moment no route may have it as its source.
       */
      readonly nodad?: true;
    }
  | {
      readonly kind: 'route';
      readonly namespace: NamespaceName;
      readonly destination: IpPrefix;
      /** the loopback, of one that is a dead end */
      readonly link: Link;
      /** It leads nowhere. */
      readonly type?: DeadEnd;
      /** the next hop; absent where the destination is on the link itself */
      readonly via?: Ip;
      /** the address that the host's own packets leave with; RTA_PREFSRC */
      readonly source?: Ip;
      /** The next hop is a neighbour on the link, though no route of the link says so; RTNH_F_ONLINK. */
      readonly onlink?: true;
      /** bytes, of packets that go this way, where that is less than the link takes; RTAX_MTU */
      readonly mtu?: number;
      /** number of a table that rules lead to; absent for the main one */
      readonly table?: number;
      /** Of several to one destination the least counts; absent for the kernel's own, 0 of IPv4 and 1024 of IPv6. */
      readonly metric?: number;
      /** number of a routing protocol, by which an owner finds its routes again; absent for that of static ones */
      readonly protocol?: number;
    }
  /** Which packets ask which table of routes, in the order of `priority`. */
  | {
      readonly kind: 'rule';
      readonly namespace: NamespaceName;
      readonly priority: number;
      /** of the packets; absent where a prefix says it, and for IPv4 */
      readonly family?: Family;
      /** name of the link that they come in by, whether it is there or not; `lo` for the host's own */
      readonly iif?: string;
      /** name of the link that they are to leave by, as those of a socket that is bound to it */
      readonly oif?: string;
      readonly from?: IpPrefix;
      readonly to?: IpPrefix;
      readonly mark?: Mark;
      /** It is for all other packets instead. */
      readonly inverted?: true;
      /** What the table has by prefixes of this length and shorter does not count. */
      readonly suppressPrefixLength?: number;
      /** number of the protocol by which an owner finds its rules again */
      readonly protocol?: number;
      /** It asks for more than is said here: another's. */
      readonly asksMore?: true;
      /** absent where they are dropped instead */
      readonly table?: number;
    }
  | {
      readonly kind: 'neighbour';
      readonly namespace: NamespaceName;
      readonly link: Link;
      readonly address: Ipv4;
      readonly mac: Mac;
    }
  /** A value under /proc/sys, of the namespace's own; for what netlink cannot set, since a write is slow. */
  | {
      readonly kind: 'sysctl';
      readonly namespace: NamespaceName;
      readonly name: string;
      readonly value: string;
      /** It belongs to a module: where that is not loaded there is nothing to set. */
      readonly ofModule?: true;
    }
  /** Packets that come in by this link may go out by another; IPV4_DEVCONF_FORWARDING. */
  | { readonly kind: 'forwarding'; readonly namespace: NamespaceName; readonly link: Link }
  | {
      readonly kind: 'shaper';
      readonly namespace: NamespaceName;
      readonly link: Link;
      /** bytes per second */
      readonly rate: number;
      /** bytes */
      readonly burst: number;
    };

export type ObjectKind = KernelObject['kind'];

/** What the kernel would call the same object: two objects with one key cannot both exist. */
export function objectKey(object: KernelObject): string {
  const at = `${object.namespace}/${object.kind}`;
  switch (object.kind) {
    case 'namespace':
    case 'loopback':
      return at;
    case 'veth':
    case 'tap':
    case 'bridge':
    case 'port':
    case 'forwarding':
    case 'shaper':
    case 'guard':
      return `${at}/${object.link.index}`;
    case 'vxlan':
      // these cannot be changed: with others it is another link
      return `${at}/${object.link.index}/${object.outside}/${object.vni}/${object.port}`;
    case 'address':
      return `${at}/${object.link.index}/${ipKey(object.address)}/${object.length}`;
    case 'route': {
      const table = object.table === undefined ? '' : `/${object.table}`;
      const metric = object.metric === undefined ? '' : `/${object.metric}`;
      return `${at}${table}/${ipKey(object.destination.address)}/${object.destination.length}${metric}`;
    }
    case 'rule':
      return `${at}/${ruleWords(object).join('/')}`;
    case 'neighbour':
      return `${at}/${object.link.index}/${object.address}`;
    case 'sysctl':
      return `${at}/${object.name}`;
    case 'fdb':
      return `${at}/${object.link.index}/${formatMac(object.mac)}`;
  }
}

export function ruleFamily({ family, from, to }: Extract<KernelObject, { kind: 'rule' }>): Family {
  if (family !== undefined) return family;
  const prefix = from ?? to;
  return prefix !== undefined && isIpv6(prefix.address) ? 'inet6' : 'inet';
}

/** All that a rule says: none of it can be changed. */
function ruleWords(rule: Extract<KernelObject, { kind: 'rule' }>): unknown[] {
  const { priority, iif, oif, from, to, mark, inverted, suppressPrefixLength, protocol, asksMore, table } = rule;
  const match = [iif, oif, from && formatIpPrefix(from), to && formatIpPrefix(to), mark?.value, mark?.mask];
  return [priority, ruleFamily(rule), ...match, inverted, suppressPrefixLength, protocol, asksMore, table];
}

/** A number of each family is another address. */
function ipKey(address: Ip): string {
  return isIpv6(address) ? `${address}n` : `${address}`;
}
