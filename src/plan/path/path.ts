import { LEAST_MTU } from '../../addr/ipv4.ts';

/** Times in ms. */
export type PathTiming = {
  /** how long an answer is waited for */
  readonly wait_ms: number;
  /** how long after an answer, or after none came, it is asked again */
  readonly rest_ms: number;
  /** how long a smaller size holds before the whole one is tried again */
  readonly raise_ms: number;
};

export const PATH_TIMING: PathTiming = { wait_ms: 1000, rest_ms: 5000, raise_ms: 60_000 };

/** How long an answer is waited for at the least, and for how many round trips. */
const LEAST_WAIT_MS = 250;
const ROUND_TRIPS = 8;
/** Of one size, before it counts as too large: MAX_PROBES of RFC 8899, 5.1.2. */
const TRIES = 3;
/** bytes: how near the size that is found is to the one that passes */
const STEP = 8;
/** bytes, of the IP packet: below it there is nothing to find */
export const LEAST = LEAST_MTU;

/** A question that is under way. */
type Asked = { readonly size: number; readonly nonce: bigint; readonly atMs: number };

/**
 * Of a search: `low` has passed and `high` has not, which says something only where it was lost since the search began:
 * before, nothing may have passed at all.
 */
type Search = { readonly low: number; readonly high: number; readonly isHighLost: boolean };

/**
 * One way to one host: whether packets pass and how large they may be, found by asking with packets of real sizes and
 * without trust in what routers say (RFC 8899). Answers are short, so that they say what this direction carries; the other
 * is the other host's to find.
 *
 *     whole ──three lost──▶ least ──answered──▶ search (halving) ──▶ a size ──raise_ms──▶ whole
 *       ▲  └─answered: it carries all                │
 *       └─────────── nothing is answered: it is not known, and what was known holds ◀──┘
 *
 * Pure: it is told the time, and says what to ask.
 */
export class Path {
  readonly #timing: PathTiming;
  /** bytes, of the IP packet: what it is to carry */
  #whole: number;
  #size: number | undefined;
  #search: Search | undefined;
  #tries = 0;
  #asked: Asked | undefined;
  #nextMs = Number.NEGATIVE_INFINITY;
  #answeredMs: number | undefined;
  #narrowedMs = Number.NEGATIVE_INFINITY;
  #roundTripMs: number | undefined;
  readonly #expectedMs: number | undefined;
  /** whether something has happened since it was asked, so that it is to be asked once more */
  #isHurried = false;
  /** the size that is asked for now */
  #trying: number;

  /** @param expectedMs how long an answer takes, as far as is known */
  constructor(whole: number, timing: PathTiming = PATH_TIMING, expectedMs?: number) {
    this.#whole = whole;
    this.#trying = whole;
    this.#timing = timing;
    this.#expectedMs = expectedMs;
  }

  /** bytes, of the IP packet: the largest that has passed; undefined where nothing has yet */
  get size(): number | undefined {
    return this.#size;
  }

  /** whether packets as large as sandboxes may send have lately passed both ways */
  get isWhole(): boolean {
    return this.#size === this.#whole;
  }

  /** ms of the clock, when it was last answered; undefined for never */
  get answeredMs(): number | undefined {
    return this.#answeredMs;
  }

  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** When there is something to ask. */
  get dueMs(): number {
    return this.#asked === undefined ? this.#nextMs : this.#asked.atMs + this.#wait_ms;
  }

  /**
   * Where it is known how long an answer takes, it is not waited for much longer, as a search asks many times in vain; but
   * twice as long each time that it is lost, as queues may have grown.
   */
  get #wait_ms(): number {
    const { wait_ms } = this.#timing;
    const roundTripMs = this.#roundTripMs ?? this.#expectedMs;
    if (roundTripMs === undefined) return wait_ms;
    return Math.min(wait_ms, Math.max(LEAST_WAIT_MS, ROUND_TRIPS * roundTripMs) * 2 ** this.#tries);
  }

  /** Another size is the whole one now. */
  resize(whole: number): void {
    if (whole === this.#whole) return;
    this.#whole = whole;
    if (this.#size !== undefined && this.#size > whole) this.#size = whole;
    this.#begin();
  }

  /** Whether an answer is waited for. */
  get isAsked(): boolean {
    return this.#asked !== undefined;
  }

  /** Asks as soon as no answer is waited for: something has happened. */
  hurry(): void {
    this.#nextMs = Number.NEGATIVE_INFINITY;
    this.#isHurried = this.isAsked;
  }

  /** Likewise, where it may be that nobody has listened before: what was lost says nothing. */
  restart(): void {
    if (this.#size === undefined) this.#begin();
    else this.hurry();
  }

  /**
   * Asks, if it is time.
   *
   * @returns the size to ask with, bytes of the IP packet; undefined where it is not time
   */
  ask(nowMs: number, nonce: bigint): number | undefined {
    if (nowMs < this.dueMs) return undefined;
    if (this.#asked !== undefined) this.#lost(nowMs);
    if (nowMs < this.#nextMs) return undefined;
    const isNarrow = this.#trying === this.#size && this.#trying < this.#whole;
    if (isNarrow && nowMs - this.#narrowedMs >= this.#timing.raise_ms) {
      this.#trying = this.#whole;
      this.#tries = 0;
    }
    this.#asked = { size: this.#trying, nonce, atMs: nowMs };
    return this.#trying;
  }

  /** Takes in an answer. @returns whether it was waited for; one that was not is nothing */
  answer(nowMs: number, nonce: bigint): boolean {
    const asked = this.#asked;
    if (asked?.nonce !== nonce) return false;
    this.#asked = undefined;
    this.#tries = 0;
    this.#answeredMs = nowMs;
    this.#roundTripMs = nowMs - asked.atMs;
    this.#nextMs = this.#isHurried ? nowMs : nowMs + this.#timing.rest_ms;
    this.#isHurried = false;
    if (asked.size === this.#whole) {
      this.#size = this.#whole;
      this.#search = undefined;
      this.#trying = this.#whole;
    } else this.#passed(asked.size, nowMs);
    return true;
  }

  #passed(size: number, nowMs: number): void {
    // it carried more before, and does not now
    const search =
      this.#search ?? (this.#size === size ? undefined : { low: size, high: this.#whole, isHighLost: false });
    if (search === undefined) {
      this.#trying = size;
      return;
    }
    this.#narrow({ ...search, low: size }, nowMs);
  }

  #lost(nowMs: number): void {
    const asked = this.#asked;
    this.#asked = undefined;
    if (asked === undefined) return;
    this.#tries++;
    this.#nextMs = nowMs;
    if (this.#tries < TRIES) return;
    this.#tries = 0;
    if (asked.size <= LEAST) {
      // nothing passes: how much would, nobody knows
      this.#search = undefined;
      this.#trying = this.#whole;
      this.#nextMs = nowMs + this.#timing.rest_ms;
    } else if (this.#search === undefined) {
      if (asked.size === this.#whole && this.#size !== undefined && this.#size < this.#whole) {
        // it is as narrow as it was
        this.#narrowedMs = nowMs;
        this.#trying = this.#size;
      } else this.#trying = LEAST;
    } else this.#narrow({ low: this.#search.low, high: asked.size, isHighLost: true }, nowMs);
  }

  #narrow(search: Search, nowMs: number): void {
    this.#nextMs = nowMs;
    if (search.high - search.low > STEP) {
      this.#search = search;
      this.#trying = search.low + Math.floor((search.high - search.low) / 2);
      return;
    }
    if (!search.isHighLost) {
      this.#search = search;
      this.#trying = search.high;
      return;
    }
    this.#search = undefined;
    this.#size = search.low;
    this.#trying = search.low;
    this.#narrowedMs = nowMs;
    this.#nextMs = nowMs + this.#timing.rest_ms;
  }

  #begin(): void {
    this.#search = undefined;
    this.#asked = undefined;
    this.#tries = 0;
    this.#trying = this.#whole;
    this.#nextMs = Number.NEGATIVE_INFINITY;
  }
}
