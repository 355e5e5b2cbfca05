import type { Ipv4 } from '../../addr/ipv4.ts';
import type { ArpTiming } from './timing.ts';

/** One address that is asked for. */
type Probe = {
  /** when to go on; undefined before it has begun */
  dueMs: number | undefined;
  sent: number;
};

export type Advance = {
  /** addresses to send a probe for now */
  readonly send: readonly Ipv4[];
  /** addresses that nobody claimed in time, which are no longer asked for */
  readonly free: readonly Ipv4[];
};

/**
 * The addresses that are asked for and how far each is: RFC 5227, 2.1.1, as a function of the time it is told.
 *
 *     started ──▶ begun ──0..PROBE_WAIT──▶ probe ──PROBE_MIN..PROBE_MAX──▶ … PROBE_NUM probes ──ANNOUNCE_WAIT──▶ free
 *                   └───────────────────────────── claimed ─────────────────────────────┘
 */
export class Probes {
  readonly #timing: ArpTiming;
  readonly #random: () => number;
  readonly #probes = new Map<Ipv4, Probe>();

  /** @param random from 0 to less than 1 */
  constructor(timing: ArpTiming, random: () => number) {
    this.#timing = timing;
    this.#random = random;
  }

  get size(): number {
    return this.#probes.size;
  }

  has(address: Ipv4): boolean {
    return this.#probes.has(address);
  }

  /** Asks from the next {@link advance} on; one that is asked for already goes on as it was. */
  start(address: Ipv4): void {
    if (!this.#probes.has(address)) this.#probes.set(address, { dueMs: undefined, sent: 0 });
  }

  /** Asks no more. */
  cancel(address: Ipv4): void {
    this.#probes.delete(address);
  }

  /** Somebody has the address. @returns whether that settles a probe: one that has not begun hears nothing */
  claim(address: Ipv4): boolean {
    if (this.#probes.get(address)?.dueMs === undefined) return false;
    return this.#probes.delete(address);
  }

  /** Gives up all that have begun, and names them. */
  abandon(): Ipv4[] {
    const begun = [...this.#probes].filter(([, { dueMs }]) => dueMs !== undefined).map(([address]) => address);
    for (const address of begun) this.#probes.delete(address);
    return begun;
  }

  /**
   * @param nowMs of a clock that never goes back; all claims up to now must have been told
   * @param limit how many probes to send at most; the others stay due
   */
  advance(nowMs: number, limit: number): Advance {
    const send: Ipv4[] = [];
    const free: Ipv4[] = [];
    for (const [address, probe] of this.#probes) {
      probe.dueMs ??= nowMs + this.#random() * this.#timing.probeWaitMs;
      if (nowMs < probe.dueMs) continue;
      if (probe.sent === this.#timing.probeNum) {
        free.push(address);
        this.#probes.delete(address);
        continue;
      }
      if (send.length === limit) continue;
      send.push(address);
      probe.sent++;
      // counted from now, also where now is late: the gaps never shrink
      probe.dueMs = nowMs + this.#gap(probe.sent);
    }
    return { send, free };
  }

  #gap(sent: number): number {
    const { probeNum, probeMinMs, probeMaxMs, announceWaitMs } = this.#timing;
    if (sent === probeNum) return announceWaitMs;
    return probeMinMs + this.#random() * (probeMaxMs - probeMinMs);
  }
}
