import { parseIpv4 } from '../src/addr/ipv4.ts';
import type { Network, Rates } from '../src/sandbox/topology/network.ts';

const RATES: Rates = {
  transmit: { rate: 200_000_000, burst: 100_000_000 },
  receive: { rate: 1_000_000, burst: 65_536 },
};

/** A network of each topology, with limits both ways. */
export const NETWORKS: readonly Network[] = [
  { topology: 'microvm', slot: 12, rates: RATES },
  { topology: 'netns', slot: 32_767, rates: RATES },
  { topology: 'bridge', slot: 3, rates: RATES, address: parseIpv4('10.8.64.7') },
];
