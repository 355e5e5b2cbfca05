import type { Ip } from '../../addr/ip.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Ipv6 } from '../../addr/ipv6.ts';
import { type Family, type Link, LOOPBACK, type NamespaceName } from '../../plan/state.ts';
import { readAttributes, u32At, visitAttributes } from '../netlink/attribute.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import {
  AF_INET6,
  RT_TABLE_MAIN,
  RT_TABLE_UNSPEC,
  RTA_DST,
  RTA_GATEWAY,
  RTA_METRICS,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_PRIORITY,
  RTA_TABLE,
  RTA_VIA,
  RTAX_MTU,
  RTM_GETROUTE,
  RTN_UNICAST,
  RTNH_F_ONLINK,
  RTPROT_KERNEL,
  RTPROT_STATIC,
  RTPROT_UNSPEC,
} from '../route/constants.ts';
import { familyNumber, ipAt } from '../route/family.ts';
import { deadEndOf, defaultMetric, type Route } from '../route/route.ts';
import { SyscallError } from '../syscall.ts';
import type { Links } from './attached.ts';

export type RouteFilter = {
  /** IPv4 where absent */
  readonly family?: Family | undefined;
  /** over this link only */
  readonly on?: Link | undefined;
  /** of this table, or of each; of the main one where absent */
  readonly table?: number | 'each' | undefined;
  /**
   * Of this routing protocol only, or of each but the kernel's: each route says its own then, and dead ends are among
   * them. Where absent routes of any are listed, and are alike whatever they are of.
   */
  readonly protocol?: number | 'each' | undefined;
  /** Default routes only: of others there may be as many as who is root there likes. */
  readonly isDefault?: true | undefined;
};

/** bytes of struct rtmsg */
export const RTMSG_LENGTH = 12;

/**
 * Left out is what the kernel makes by itself, such as routes to connected networks, and what has several next hops.
 */
export function listRoutes(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  links: Links,
  filter: RouteFilter = {},
): Route[] {
  const { family = 'inet', on, table = RT_TABLE_MAIN, protocol, isDefault } = filter;
  const write = (w: MessageWriter): void => {
    w.u8(familyNumber(family)).u8(0).u8(0).u8(0).u8(RT_TABLE_UNSPEC);
    w.u8(typeof protocol === 'number' ? protocol : RTPROT_UNSPEC)
      .u8(0)
      .u8(0)
      .u32(0);
    if (table !== 'each') w.attrU32(RTA_TABLE, table);
    if (on !== undefined) w.attrU32(RTA_OIF, on.index);
  };
  const wanted: Wanted = { namespace, links, table, protocol, isDefault };
  try {
    const found = socket.dump({ attempt: 'list routes', type: RTM_GETROUTE, flags: 0, write }, ({ body }) =>
      readRoute(body, wanted),
    );
    return found.filter((route) => route !== undefined);
  } catch (error) {
    // a table is not there before its first route, nor the main one before the first address
    if (error instanceof SyscallError && error.errnoName === 'ENOENT') return [];
    throw error;
  }
}

type Wanted = Required<Pick<RouteFilter, 'table' | 'protocol' | 'isDefault'>> & {
  readonly namespace: NamespaceName;
  readonly links: Links;
};

/** Of thousands that a host of a cluster has, one for each other. */
function readRoute(body: Uint8Array, wanted: Wanted): Route | undefined {
  const [family, length = 0, , , , protocol = RTPROT_UNSPEC, , type] = body;
  if (wanted.isDefault === true && length > 0) return undefined;
  let address: Ip = family === AF_INET6 ? (0n as Ipv6) : (0 as Ipv4);
  let output: number | undefined;
  let via: Ip | undefined;
  let source: Ip | undefined;
  let table: number | undefined;
  let mtu: number | undefined;
  let metric = 0;
  visitAttributes(body, RTMSG_LENGTH, (attribute, begin, end) => {
    if (attribute === RTA_DST) address = ipAt(body, begin, end);
    else if (attribute === RTA_OIF) output = u32At(body, begin, end);
    else if (attribute === RTA_GATEWAY) via = ipAt(body, begin, end);
    else if (attribute === RTA_VIA) via = ipAt(body, begin + FAMILY_LENGTH, end);
    else if (attribute === RTA_PREFSRC) source = ipAt(body, begin, end);
    else if (attribute === RTA_TABLE) table = u32At(body, begin, end);
    else if (attribute === RTA_METRICS) mtu = mtuIn(body.subarray(begin, end));
    else if (attribute === RTA_PRIORITY) metric = u32At(body, begin, end);
  });
  if (protocol === RTPROT_KERNEL || (wanted.table !== 'each' && table !== wanted.table)) return undefined;
  const deadEnd = wanted.protocol === undefined ? undefined : deadEndOf(type);
  if (deadEnd === undefined && type !== RTN_UNICAST && (family === AF_INET6 || wanted.protocol !== undefined)) {
    return undefined;
  }
  const link = linkOf(output, deadEnd !== undefined, wanted);
  if (link === undefined) return undefined;
  const destination = { address, length };
  return {
    kind: 'route',
    namespace: wanted.namespace,
    destination,
    link,
    ...(deadEnd === undefined ? {} : { type: deadEnd }),
    ...(via === undefined ? {} : { via }),
    ...(source === undefined ? {} : { source }),
    ...((u32At(body, FLAGS, FLAGS + 4) & RTNH_F_ONLINK) === 0 ? {} : { onlink: true as const }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(table === RT_TABLE_MAIN || table === undefined ? {} : { table }),
    ...(metric === defaultMetric({ destination }) ? {} : { metric }),
    ...(wanted.protocol === undefined || protocol === RTPROT_STATIC ? {} : { protocol }),
  };
}

/** Where struct rtmsg has its flags. */
const FLAGS = 8;
/** bytes of the family that struct rtvia begins with */
const FAMILY_LENGTH = 2;

/** A dead end of IPv4 has no link, one of IPv6 the loopback. */
function linkOf(output: number | undefined, isDeadEnd: boolean, { links }: Wanted): Link | undefined {
  if (isDeadEnd) return LOOPBACK;
  return output === undefined ? undefined : links.get(output);
}

export function mtuIn(metrics: Uint8Array): number | undefined {
  const mtu = readAttributes(metrics).get(RTAX_MTU);
  return mtu === undefined ? undefined : u32At(mtu, 0, mtu.length);
}
