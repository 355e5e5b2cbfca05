import { type KernelObject, ROUTER } from '../../plan/state.ts';
import { reachOf } from './cable.ts';
import {
  BRIDGE,
  BRIDGE_MAC,
  bridgeGateway,
  bridgeMac,
  cable,
  ETH0,
  type Layout,
  ROUTER_MAC,
  sandboxNamespace,
} from './layout.ts';
import type { Network } from './network.ts';

type BridgeNetwork = Extract<Network, { readonly topology: 'bridge' }>;

/** The bridge itself, once per host. */
export function bridgeItself(layout: Layout): KernelObject[] {
  const namespace = ROUTER;
  const { bridgeRange, mtu } = layout;
  return [
    { kind: 'bridge', namespace, link: BRIDGE, mac: BRIDGE_MAC, mtu, up: true },
    { kind: 'address', namespace, link: BRIDGE, address: bridgeGateway(layout), length: bridgeRange.length },
  ];
}

/**
 * A namespace on an isolated port of the shared bridge. The router's neighbour and forwarding entries are static:
 * nobody takes another's address by answering faster.
 */
export function bridgeObjects(network: BridgeNetwork, layout: Layout): KernelObject[] {
  const { slot, address, rates, hasTunnel } = network;
  const namespace = sandboxNamespace(slot);
  const port = cable(slot);
  const mac = bridgeMac(address);
  const gateway = bridgeGateway(layout);
  const { mtu } = layout;
  const objects: KernelObject[] = [
    { kind: 'namespace', namespace },
    { kind: 'loopback', namespace },
    {
      kind: 'veth',
      peer: { namespace, link: ETH0, mac, mtu, up: true },
      namespace: ROUTER,
      link: port,
      mac: ROUTER_MAC,
      mtu,
      up: true,
    },
    { kind: 'port', namespace: ROUTER, link: port, bridge: BRIDGE },
    { kind: 'fdb', namespace: ROUTER, link: port, mac },
    { kind: 'neighbour', namespace: ROUTER, link: BRIDGE, address, mac },
    { kind: 'address', namespace, link: ETH0, address, length: layout.bridgeRange.length },
    { kind: 'neighbour', namespace, link: ETH0, address: gateway, mac: BRIDGE_MAC },
    { kind: 'route', namespace, destination: reachOf(layout, hasTunnel), link: ETH0, via: gateway },
  ];
  if (rates.receive !== undefined) objects.push({ kind: 'shaper', namespace: ROUTER, link: port, ...rates.receive });
  return objects;
}
