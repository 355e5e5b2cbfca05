import type { KernelObject } from '../../plan/state.ts';
import { cableObjects } from './cable.ts';
import { ETH0, type Layout, sandboxNamespace, TAP0 } from './layout.ts';
import type { Network } from './network.ts';

/**
 * A namespace with a TAP for a virtual machine, whose guest has the same address in every one of them. The namespace
 * only forwards; the router translates, one to one, between the guest's address and the one the host reaches it at.
 */
export function microvmObjects(network: Network, layout: Layout): KernelObject[] {
  const { slot, rates } = network;
  const namespace = sandboxNamespace(slot);
  const { tap, guest, mtu } = layout;
  const objects: KernelObject[] = [
    ...cableObjects(network, guest.address, layout),
    { kind: 'tap', namespace, link: TAP0, mac: tap.mac, mtu, up: true, transmitQueue: tap.transmitQueue },
    { kind: 'address', namespace, link: TAP0, address: tap.address, length: tap.length },
    { kind: 'neighbour', namespace, link: TAP0, address: guest.address, mac: guest.mac },
    { kind: 'guard', namespace, link: TAP0, mac: guest.mac },
    { kind: 'forwarding', namespace, link: ETH0 },
    { kind: 'forwarding', namespace, link: TAP0 },
  ];
  if (rates.transmit !== undefined) objects.push({ kind: 'shaper', namespace, link: ETH0, ...rates.transmit });
  if (rates.receive !== undefined) objects.push({ kind: 'shaper', namespace, link: TAP0, ...rates.receive });
  return objects;
}
