import type { Ipv4 } from '../../addr/ipv4.ts';
import { hostAddress, type Layout } from './layout.ts';

/** bytes per second, and bytes that may pass at once before the rate holds */
export type Rate = { readonly rate: number; readonly burst: number };

export type Rates = {
  /** what the sandbox sends */
  readonly transmit?: Rate;
  /** what it gets */
  readonly receive?: Rate;
};

/** All that decides what a sandbox's network looks like in the kernel. */
export type Network = {
  readonly slot: number;
  readonly rates: Rates;
  /** It leaves by a tunnel inside, and by its cable reaches the host alone. */
  readonly hasTunnel?: true;
} & (
  | { readonly topology: 'microvm' | 'netns' }
  /** `address` is the sandbox's own, on the bridge */
  | { readonly topology: 'bridge'; readonly address: Ipv4 }
);

/** The address that the host and the outside know it by. */
export function addressOf(network: Network, layout: Layout): Ipv4 {
  return network.topology === 'bridge' ? network.address : hostAddress(layout, network.slot);
}
