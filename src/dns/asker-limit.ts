import type { Ipv4 } from '../addr/ipv4.ts';
import { MAX_ASKERS } from './limits.ts';

type Bucket = { left: number; atMs: number };

/** Holds each asker to a rate of its own, after a first burst. */
export class AskerLimit {
  readonly #ratePerMs: number;
  readonly #burst: number;
  readonly #most: number;
  readonly #nowMs: () => number;
  /** Who asked last stands last. */
  readonly #buckets = new Map<Ipv4, Bucket>();

  /**
   * @param nowMs a clock that never goes back
   * @param most askers that are known; of more, who has not asked for the longest time begins anew
   */
  constructor(
    { rate, burst }: { readonly rate: number; readonly burst: number },
    nowMs: () => number = () => performance.now(),
    most: number = MAX_ASKERS,
  ) {
    this.#ratePerMs = rate / 1000;
    this.#burst = burst;
    this.#nowMs = nowMs;
    this.#most = most;
  }

  /** Whether the asker may ask once more now; it counts where it may. */
  take(asker: Ipv4): boolean {
    const atMs = this.#nowMs();
    const bucket = this.#buckets.get(asker);
    const regained = bucket === undefined ? this.#burst : bucket.left + (atMs - bucket.atMs) * this.#ratePerMs;
    const left = Math.min(this.#burst, regained);
    const may = left >= 1;
    this.#buckets.delete(asker);
    this.#buckets.set(asker, { left: may ? left - 1 : left, atMs });
    if (this.#buckets.size > this.#most) this.#forgetFirst();
    return may;
  }

  #forgetFirst(): void {
    const [first] = this.#buckets.keys();
    if (first !== undefined) this.#buckets.delete(first);
  }
}
