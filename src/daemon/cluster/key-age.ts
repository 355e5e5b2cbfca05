import type { EpochRecord } from '../../cluster/records.ts';

/** Of the age that keys may have: for how long a host has to have known them by itself, whatever its wall clock says. */
const KNOWN_SHARE = 0.1;
/** That no host has to know them for longer, since daemons are started anew. */
const KNOWN_MAX_MS = 86_400_000;
/** By how much a host waits longer than the one before it: the first one does it, and another where that one does not. */
const TURN_MS = 10_000;
/** Of as many hosts one does it; those that follow all come after them. */
const TURNS_MAX = 30;

/** When it is, and who asks. */
export type Moment = {
  readonly wallMs: number;
  /** of a clock that nobody can set */
  readonly monotonicMs: number;
  /** of this host among all, by name; 0 is the first */
  readonly rank: number;
};

/**
 * Whether the keys of all hosts are old.
 *
 * The record of the latest change has the wall time of the host that began it, and wall clocks jump. So keys are old only
 * for who has also known them for a while by a clock that nobody can set; and who has known them for as long as they may
 * live needs no wall clock.
 *
 *     known for   0 ──── a tenth ──────────────── all of it ──▶
 *                 never    old if the record says so    old
 */
export class KeyAge {
  readonly #everyMs: number;
  #known: { readonly rotation: number; readonly sinceMs: number } | undefined;

  /** @param everyMs after which keys are to be changed */
  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** @param epoch as it is now; to be asked from time to time, as it takes note of when it sees other keys */
  areOld({ rotation, phase, rotatedWallMs }: EpochRecord, { wallMs, monotonicMs, rank }: Moment): boolean {
    if (this.#known?.rotation !== rotation) this.#known = { rotation, sinceMs: monotonicMs };
    if (phase !== 'done') return false;
    const turnMs = Math.min(rank, TURNS_MAX) * TURN_MS;
    const knownMs = monotonicMs - this.#known.sinceMs - turnMs;
    const recordedMs = wallMs - rotatedWallMs - turnMs;
    const leastMs = Math.min(this.#everyMs * KNOWN_SHARE, KNOWN_MAX_MS);
    return knownMs >= this.#everyMs || (knownMs >= leastMs && recordedMs >= this.#everyMs);
  }
}
