import type { KernelObject } from '../../plan/state.ts';
import { bridgeObjects } from './bridge.ts';
import type { Layout } from './layout.ts';
import { microvmObjects } from './microvm.ts';
import { netnsObjects } from './netns.ts';
import type { Network } from './network.ts';

/** The kernel objects that make up one sandbox's network: the only place that knows. Pure. */
export function desired(network: Network, layout: Layout): KernelObject[] {
  switch (network.topology) {
    case 'microvm':
      return microvmObjects(network, layout);
    case 'netns':
      return netnsObjects(network, layout);
    case 'bridge':
      return bridgeObjects(network, layout);
  }
}
