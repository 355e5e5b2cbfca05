import type { Ip } from '../../addr/ip.ts';
import { isIpv6 } from '../../addr/ip.ts';
import { NLM_F_CREATE } from '../../linux/netlink/constants.ts';
import { listRoutes } from '../../linux/observe/routes.ts';
import { deleteRoute, newRoute, type Route } from '../../linux/route/route.ts';
import type { Family, Link, NamespaceName } from '../../plan/state.ts';
import { TUNNEL_PROTOCOL } from '../plan/routing.ts';
import type { Inside } from './echo-socket.ts';

/** Of IPv6, which has no two routes of one metric: before all that others have. IPv4 takes the one that came last. */
const FIRST_METRIC = 1;
const FAMILIES: readonly Family[] = ['inet', 'inet6'];

/**
 * Sends one packet that is larger than its link says that packets may be: a route may say another size than its link, and
 * the kernel goes by it. There is one, to this address alone, while `send` runs, which is a moment. To raise the link for
 * it would let everybody send packets that are too large, for as long as an answer takes.
 *
 * @param mtu bytes
 */
export function withWideRoute<T>({ kernel, at, link }: Inside, { address, mtu }: Wide, send: () => T): T {
  const route = wideRoute(at, link, { address, mtu });
  return kernel.withSocket(at, (socket) => {
    // beside one to the same address that is there
    socket.request({ ...newRoute(route), flags: NLM_F_CREATE });
    try {
      return send();
    } finally {
      socket.request(deleteRoute(route));
    }
  });
}

export type Wide = { readonly address: Ip; readonly mtu: number };

function wideRoute(namespace: NamespaceName, link: Link, { address, mtu }: Wide): Route {
  const isNew = isIpv6(address);
  const destination = { address, length: isNew ? 128 : 32 };
  const route = { kind: 'route', namespace, destination, link, mtu, protocol: TUNNEL_PROTOCOL } as const;
  return isNew ? { ...route, metric: FIRST_METRIC } : route;
}

/** Takes away what a client has left that was killed in that moment. No route of a tunnel says a size otherwise. */
export function dropWideRoutes({ kernel, at, link }: Inside): void {
  const links = new Map([[link.index, link]]);
  kernel.withSocket(at, (socket) => {
    const left = FAMILIES.flatMap((family) =>
      listRoutes(socket, at, links, { family, on: link, protocol: TUNNEL_PROTOCOL }),
    ).filter(({ mtu }) => mtu !== undefined);
    const errors = socket.batch(left.map(deleteRoute));
    const failure = errors.find((error) => error !== undefined && error.errnoName !== 'ESRCH');
    if (failure !== undefined) throw failure;
  });
}
