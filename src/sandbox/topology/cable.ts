import type { Ipv4 } from '../../addr/ipv4.ts';
import { type Prefix, parsePrefix } from '../../addr/prefix.ts';
import { type KernelObject, LOOPBACK, ROUTER } from '../../plan/state.ts';
import {
  cable,
  ETH0,
  hostAddress,
  type Layout,
  ROUTER_MAC,
  routerAddress,
  SANDBOX_MAC,
  sandboxAddress,
  sandboxNamespace,
} from './layout.ts';
import type { Network } from './network.ts';

/** Everything, as a route's destination. */
export const EVERYWHERE = parsePrefix('0.0.0.0/0');

/** What a sandbox reaches by its cable: one that leaves by a tunnel answers who calls it from the host, by slot 0's address. */
export function reachOf(layout: Layout, hasTunnel: true | undefined): Prefix {
  return hasTunnel === true ? { address: hostAddress(layout, 0), length: 32 } : EVERYWHERE;
}

/**
 * What the routed topologies have in common: a namespace on a cable of its own to the router, addressed as a /31
 * (RFC 3021). Neighbours are permanent on both ends, so no ARP is spoken and none is believed.
 *
 * The router's end has no address: the kernel walks all of a namespace's addresses whenever one is added, which at
 * 10,000 sandboxes cost more than all the rest. The gateway answers by a local route to the whole range. What the
 * namespace itself sends, as a microVM's does when its guest is down, leaves from the host address too.
 *
 * @param inside the address that packets to the sandbox have on the cable. The router looks for the neighbour once it has
 *   translated, and a route without a gateway makes that the packet's own destination.
 */
export function cableObjects({ slot, hasTunnel }: Network, inside: Ipv4, layout: Layout): KernelObject[] {
  const namespace = sandboxNamespace(slot);
  const outer = cable(slot);
  const gateway = routerAddress(layout, slot);
  const address = hostAddress(layout, slot);
  const { mtu } = layout;
  return [
    { kind: 'namespace', namespace },
    { kind: 'loopback', namespace },
    {
      kind: 'veth',
      peer: { namespace, link: ETH0, mac: SANDBOX_MAC, mtu, up: true },
      namespace: ROUTER,
      link: outer,
      mac: ROUTER_MAC,
      mtu,
      up: true,
    },
    { kind: 'address', namespace, link: LOOPBACK, address, length: 32 },
    { kind: 'address', namespace, link: ETH0, address: sandboxAddress(layout, slot), length: 31 },
    { kind: 'neighbour', namespace, link: ETH0, address: gateway, mac: ROUTER_MAC },
    { kind: 'neighbour', namespace: ROUTER, link: outer, address: inside, mac: SANDBOX_MAC },
    { kind: 'route', namespace: ROUTER, destination: { address, length: 32 }, link: outer },
    { kind: 'route', namespace, destination: reachOf(layout, hasTunnel), link: ETH0, via: gateway, source: address },
  ];
}
