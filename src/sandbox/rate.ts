import { InputError } from '../errors.ts';
import type { Rate } from './topology/network.ts';

/** bytes per second; tbf counts in ticks of 64 ns and cannot be slower than a packet in some seconds */
export const RATE_MIN = 1_000;
/** bytes per second: 100 Gbit/s; nf_tables holds the time that a second's worth takes at most 18 of such in 64 bits */
export const RATE_MAX = 12_500_000_000;
/** bytes: room for one packet of the largest MTU, or the shaper would let none pass */
export const BURST_MIN = 65_536;
/** bytes: tbf holds the bucket in 32 bits */
export const BURST_MAX = 0xffffffff;
/** s: tbf holds the time that a full burst takes in 32 bits, in ticks of 64 ns */
const BURST_SECONDS_MAX = 250;
/** s: the burst of a rate that names none; 200 MB/s and 100 MB have this ratio */
const BURST_SECONDS = 0.5;

/**
 * A rate with the burst that is said, or that follows from it.
 *
 * @param field the path of the burst in the request
 * @throws InputError `invalid_rate`
 */
export function rateWith(rate: number, burst: number | null | undefined, field: string): Rate {
  const bytes = burst ?? Math.min(Math.max(Math.floor(rate * BURST_SECONDS), BURST_MIN), BURST_MAX);
  if (bytes > rate * BURST_SECONDS_MAX) {
    const message = `Cannot use a burst of ${bytes} bytes at ${rate} bytes per second: want at most ${BURST_SECONDS_MAX} s of the rate`;
    throw new InputError('invalid_rate', message, { field });
  }
  return { rate, burst: bytes };
}
