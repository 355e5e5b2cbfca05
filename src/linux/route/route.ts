import { formatPrefix } from '../../addr/prefix.ts';
import type { KernelObject } from '../../plan/state.ts';
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from '../netlink/constants.ts';
import type { Request } from '../netlink/socket.ts';
import {
  AF_INET,
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
  RTA_TABLE,
  RTAX_MTU,
  RTM_DELROUTE,
  RTM_NEWROUTE,
  RTN_UNICAST,
  RTNH_F_ONLINK,
  RTPROT_STATIC,
  RTPROT_UNSPEC,
} from './constants.ts';

export type Route = Extract<KernelObject, { kind: 'route' }>;

export function newRoute(route: Route): Request {
  return { ...message('add', route), type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_EXCL };
}

/** Replaces the route to the same destination in one step: no packet finds none. */
export function replaceRoute(route: Route): Request {
  return { ...message('replace', route), type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_REPLACE };
}

/** Whoever has made it, by whatever protocol. */
export function deleteRoute(route: Route): Request {
  // where a size is named that is not the route's the kernel finds none to delete
  const { mtu: _, ...any } = route;
  return { ...message('delete', any, RTPROT_UNSPEC, RT_SCOPE_NOWHERE), type: RTM_DELROUTE, flags: 0 };
}

/** struct rtmsg, then attributes. */
function message(
  verb: string,
  route: Route,
  protocol = RTPROT_STATIC,
  scope = route.via === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
): Pick<Request, 'attempt' | 'write'> {
  const { destination, link, via, source, onlink, mtu, table } = route;
  return {
    attempt: `${verb} route ${formatPrefix(destination)} on ${link.name}`,
    write(writer) {
      writer.u8(AF_INET).u8(destination.length).u8(0).u8(0);
      writer
        .u8(table === undefined ? RT_TABLE_MAIN : RT_TABLE_UNSPEC)
        .u8(protocol)
        .u8(scope)
        .u8(RTN_UNICAST);
      writer.u32(onlink === true ? RTNH_F_ONLINK : 0);
      if (destination.length > 0) writer.attrU32be(RTA_DST, destination.address);
      if (via !== undefined) writer.attrU32be(RTA_GATEWAY, via);
      if (source !== undefined) writer.attrU32be(RTA_PREFSRC, source);
      writer.attrU32(RTA_OIF, link.index);
      if (table !== undefined) writer.attrU32(RTA_TABLE, table);
      if (mtu !== undefined) writer.nest(RTA_METRICS, (metrics) => metrics.attrU32(RTAX_MTU, mtu));
    },
  };
}
