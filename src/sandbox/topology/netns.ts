import { type KernelObject, ROUTER } from '../../plan/state.ts';
import { cableObjects } from './cable.ts';
import { cable, hostAddress, type Layout } from './layout.ts';
import type { Network } from './network.ts';

/**
 * A namespace for processes. They may be root in it, so nothing that binds them stands inside: what they get is shaped
 * on the router's end, what they send is policed by the router's rules.
 */
export function netnsObjects(network: Network, layout: Layout): KernelObject[] {
  const { slot, rates } = network;
  const objects = cableObjects(network, hostAddress(layout, slot), layout);
  if (rates.receive !== undefined) {
    objects.push({ kind: 'shaper', namespace: ROUTER, link: cable(slot), ...rates.receive });
  }
  return objects;
}
