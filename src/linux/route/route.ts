import { type Ip, ipBytes, isIpv6 } from '../../addr/ip.ts';
import { formatIpPrefix } from '../../addr/ip-prefix.ts';
import type { DeadEnd, KernelObject } from '../../plan/state.ts';
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from '../netlink/constants.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import {
  RT_SCOPE_LINK,
  RT_SCOPE_NOWHERE,
  RT_SCOPE_UNIVERSE,
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
  RTM_DELROUTE,
  RTM_NEWROUTE,
  RTN_BLACKHOLE,
  RTN_UNICAST,
  RTN_UNREACHABLE,
  RTNH_F_ONLINK,
  RTPROT_STATIC,
  RTPROT_UNSPEC,
} from './constants.ts';
import { familyOf, writeIp } from './family.ts';

export type Route = Extract<KernelObject, { kind: 'route' }>;

export function newRoute(route: Route): Request {
  return { ...message('add', route), type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_EXCL };
}

/** Replaces the route to the same destination in one step: no packet finds none. */
export function replaceRoute(route: Route): Request {
  return { ...message('replace', route), type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_REPLACE };
}

/** Whoever has made it, by whatever protocol, where the route does not say that. */
export function deleteRoute(route: Route): Request {
  // where a size is named that is not the route's the kernel finds none to delete
  const { mtu: _, ...any } = route;
  const { metric = defaultMetric(route), protocol = RTPROT_UNSPEC } = route;
  return { ...message('delete', { ...any, metric, protocol }, RT_SCOPE_NOWHERE), type: RTM_DELROUTE, flags: 0 };
}

/** linux/ipv6_route.h */
const IP6_RT_PRIO_USER = 1024;

/** That of a route that is given none. IPv4 has its first that way: where none is named, the least goes. */
export function defaultMetric({ destination }: Pick<Route, 'destination'>): number {
  return isIpv6(destination.address) ? IP6_RT_PRIO_USER : 0;
}

const TYPES: Readonly<Record<DeadEnd, number>> = { blackhole: RTN_BLACKHOLE, unreachable: RTN_UNREACHABLE };

/** Undefined of a route that leads somewhere, and of those that Culvert has no word for. */
export function deadEndOf(type: number | undefined): DeadEnd | undefined {
  if (type === RTN_BLACKHOLE) return 'blackhole';
  return type === RTN_UNREACHABLE ? 'unreachable' : undefined;
}

/** struct rtmsg, then attributes. */
function message(verb: string, route: Route, scope = scopeOf(route)): Pick<Request, 'attempt' | 'write'> {
  const { destination, link, type, via, source, onlink, mtu, table, metric, protocol = RTPROT_STATIC } = route;
  return {
    attempt: `${verb} route ${formatIpPrefix(destination)} on ${link.name}`,
    write(writer) {
      writer.u8(familyOf(destination.address)).u8(destination.length).u8(0).u8(0);
      writer
        .u8(table === undefined ? RT_TABLE_MAIN : RT_TABLE_UNSPEC)
        .u8(protocol)
        .u8(scope)
        .u8(type === undefined ? RTN_UNICAST : TYPES[type]);
      writer.u32(onlink === true ? RTNH_F_ONLINK : 0);
      if (destination.length > 0) writeIp(writer, RTA_DST, destination.address);
      if (via !== undefined) writeGateway(writer, route, via);
      if (source !== undefined) writeIp(writer, RTA_PREFSRC, source);
      if (type === undefined) writer.attrU32(RTA_OIF, link.index);
      if (table !== undefined) writer.attrU32(RTA_TABLE, table);
      if (metric !== undefined && metric > 0) writer.attrU32(RTA_PRIORITY, metric);
      if (mtu !== undefined) writer.nest(RTA_METRICS, (metrics) => metrics.attrU32(RTAX_MTU, mtu));
    },
  };
}

/** One of the other family has that said: struct rtvia. */
function writeGateway(writer: MessageWriter, { destination }: Route, via: Ip): void {
  if (isIpv6(via) === isIpv6(destination.address)) writeIp(writer, RTA_GATEWAY, via);
  else writer.attr(RTA_VIA, Uint8Array.of(familyOf(via), 0, ...ipBytes(via)));
}

function scopeOf({ via, type }: Route): number {
  return via === undefined && type === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
}
