import { parsePrefix } from '../../addr/prefix.ts';
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

/** Everything, as a route's destination. */
export const EVERYWHERE = parsePrefix('0.0.0.0/0');

/**
 * What the routed topologies have in common: a namespace on a cable of its own to the router, addressed as a /31
 * (RFC 3021). Neighbours are permanent on both ends, so no ARP is spoken and none is believed.
 */
export function cableObjects(slot: number, layout: Layout): KernelObject[] {
  const namespace = sandboxNamespace(slot);
  const outer = cable(slot);
  const gateway = routerAddress(layout, slot);
  const own = sandboxAddress(layout, slot);
  const { mtu } = layout;
  return [
    { kind: 'namespace', namespace },
    { kind: 'loopback', namespace },
    {
      kind: 'veth',
      peer: { namespace, link: ETH0, mac: SANDBOX_MAC, mtu },
      namespace: ROUTER,
      link: outer,
      mac: ROUTER_MAC,
      mtu,
    },
    { kind: 'address', namespace: ROUTER, link: outer, address: gateway, length: 31 },
    { kind: 'address', namespace, link: ETH0, address: own, length: 31 },
    { kind: 'neighbour', namespace: ROUTER, link: outer, address: own, mac: SANDBOX_MAC },
    { kind: 'neighbour', namespace, link: ETH0, address: gateway, mac: ROUTER_MAC },
    {
      kind: 'route',
      namespace: ROUTER,
      destination: { address: hostAddress(layout, slot), length: 32 },
      link: outer,
      via: own,
    },
  ];
}

/** Where the sandbox's own processes send from: the address that the host and the outside know it by. */
export function ownAddressObjects(slot: number, layout: Layout): KernelObject[] {
  const namespace = sandboxNamespace(slot);
  const address = hostAddress(layout, slot);
  return [
    { kind: 'address', namespace, link: LOOPBACK, address, length: 32 },
    {
      kind: 'route',
      namespace,
      destination: EVERYWHERE,
      link: ETH0,
      via: routerAddress(layout, slot),
      source: address,
    },
  ];
}
