import type { Ipv4 } from '../addr/ipv4.ts';
import { isReleasedEarly } from '../ipam/early-release.ts';
import type { Lease, LeaseKey, Slot } from '../ipam/lease.ts';
import { hasQuarantined } from '../ipam/lookup.ts';
import { awaitingFlush, dueLeases, enterQuarantine, markFlushed, releaseDue, restAgain } from '../ipam/quarantine.ts';
import type { Store } from '../ipam/store.ts';
import type { Kernel } from '../linux/apply.ts';
import { ROUTER } from '../plan/state.ts';
import type { Batch } from './crew/batch.ts';
import type { Crew } from './crew/crew.ts';
import { type Holding, holdingOf, networkOf, outsideAddress } from './holding.ts';
import { cable, type Layout } from './topology/layout.ts';
import type { Flushed } from './tracking.ts';

/** Networks that one step clears where nobody helps, so that a step stays short: each waits for a grace period. */
const CLEARED_PER_STEP = 16;
/** How long a removal waits for others: namespaces that go together cost the kernel less. */
const GATHER_MS = 20;
/** So many are enough. */
const GATHER_MAX = 256;
/** Leases that one step flushes and frees. */
const FLUSH_PER_STEP = 1024;
/** A process that stays in a namespace keeps its cable: after this long the cable is cut on the router's side. */
const HELD_AFTER_MS = 2_000;
/** How often it is looked for leases that are due, at the most. */
const FREE_INTERVAL_MS = 10;
/**
 * Connection tracking is read as a whole, for however many addresses. That takes some milliseconds, in which nobody is
 * answered: so many times as long it is not read again, and not longer than {@link FLUSH_REST_MAX_MS}.
 */
const FLUSH_REST = 50;
const FLUSH_REST_MAX_MS = 500;
/** How often a removal that the kernel refuses is tried before a person has to look. It goes on being tried. */
const MAX_ATTEMPTS = 8;
/** After the first attempt, twice as long after each that follows. */
const RETRY_MS = { first: 50, most: 60_000 } as const;

export type ReaperParts = {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly crew: Crew;
  readonly layout: Layout;
  /** the least time in quarantine */
  readonly floor_ms: number;
  /** Deletes what connection tracking knows of the addresses. */
  readonly flush: (addresses: ReadonlySet<Ipv4>) => Flushed;
};

type Going = { readonly holding: Holding; clearedMs: number; attempts: number };

/** One that the kernel refused, until it is tried again. */
type Refused = { readonly going: Going; readonly reason: string; readonly againMs: number };

/** What a removal could not do, for a person. */
export type Stuck = { readonly key: LeaseKey; readonly reason: string };

/**
 * Clears up after removals, a short step at a time: unpin the namespace, see that its cable is gone, put the lease
 * into quarantine, flush its flows, let it go when its time is over. What it works from are leases in `removing` and
 * `quarantined`, so a new daemon goes on where the last one stopped.
 */
export class Reaper {
  readonly #parts: ReaperParts;
  readonly #queue: Going[] = [];
  /** Those that are being cleared now. */
  #clearing: { readonly going: readonly Going[]; readonly batch: Batch } | undefined;
  #cleared: Going[] = [];
  /** since when the oldest in the queue waits */
  #gatheringMs = 0;
  /** when connection tracking may be read again */
  #flushMs = Number.NEGATIVE_INFINITY;
  #freedMs = Number.NEGATIVE_INFINITY;
  /** Whether something may be in quarantine, where nobody else puts it. */
  #holds = true;
  #refused: Refused[] = [];

  constructor(parts: ReaperParts) {
    this.#parts = parts;
  }

  /** @param holding in state `removing`, cut off already */
  add(holding: Holding): void {
    if (this.#queue.length === 0) this.#gatheringMs = this.#parts.store.clock.monotonicMs();
    this.#queue.push({ holding, clearedMs: 0, attempts: 0 });
  }

  /** Removals under way. */
  get pending(): number {
    return this.#queue.length + (this.#clearing?.going.length ?? 0) + this.#cleared.length;
  }

  /** How many the kernel has refused, and not been asked again. */
  get refused(): number {
    return this.#refused.length;
  }

  get stuck(): readonly Stuck[] {
    return this.#refused
      .filter(({ going }) => going.attempts >= MAX_ATTEMPTS)
      .map(({ going, reason }) => ({ key: going.holding.key, reason }));
  }

  /** One step. Returns the leases that are free now. */
  step(): LeaseKey[] {
    const { store, crew } = this.#parts;
    const nowMs = store.clock.monotonicMs();
    this.#askAgain(nowMs);
    if (this.#clearing === undefined) this.#begin(nowMs);
    if (this.#clearing !== undefined && crew.advance(this.#clearing.batch, CLEARED_PER_STEP)) this.#end(nowMs);
    const gone = this.#findGone(nowMs);
    if (gone.size > 0) {
      this.#quarantine(gone);
      this.#cleared = this.#cleared.filter((going) => !gone.has(going));
    }
    return this.#free(nowMs);
  }

  /** Ends what is under way in the kernel; for who goes on without it. */
  pause(): void {
    const { crew, store } = this.#parts;
    if (this.#clearing === undefined) return;
    crew.finish(this.#clearing.batch);
    this.#end(store.clock.monotonicMs());
  }

  /** For when the router has gone, and all cables with it: nothing is left to wait for. */
  quarantineAll(): void {
    this.pause();
    const refused = this.#refused.splice(0).map((one) => one.going);
    const going = [...this.#queue.splice(0), ...this.#cleared.splice(0), ...refused];
    if (going.length > 0) this.#quarantine(going);
  }

  #begin(nowMs: number): void {
    const isTime = this.#queue.length >= GATHER_MAX || nowMs - this.#gatheringMs >= GATHER_MS;
    if (this.#queue.length === 0 || !isTime) return;
    const going = this.#queue.slice(0, GATHER_MAX);
    const networks = going.map(({ holding }) => networkOf(holding));
    this.#clearing = { going, batch: this.#parts.crew.begin('clear', networks) };
    this.#queue.splice(0, going.length);
    this.#gatheringMs = nowMs;
  }

  #end(nowMs: number): void {
    if (this.#clearing === undefined) return;
    const { going, batch } = this.#clearing;
    this.#clearing = undefined;
    for (const [index, one] of going.entries()) {
      if (batch.outcome(index) === 'done') {
        one.clearedMs = nowMs;
        this.#cleared.push(one);
      } else this.#refuse(one, batch.failures.get(index), nowMs);
    }
  }

  /** The router's end of a cable goes with the namespace at its other end, when nobody is in it any more. */
  #findGone(nowMs: number): Set<Going> {
    if (this.#cleared.length === 0) return new Set();
    const { kernel } = this.#parts;
    const links = this.#cleared.map(({ holding }) => cable(holding.key.slot));
    const present = kernel.presentLinks(ROUTER, links);
    const isPresent = ({ holding }: Going): boolean => present.has(cable(holding.key.slot).index);
    const held = this.#cleared.filter((going) => isPresent(going) && nowMs - going.clearedMs > HELD_AFTER_MS);
    if (held.length > 0) {
      kernel.deleteLinks(
        ROUTER,
        held.map(({ holding }) => cable(holding.key.slot)),
      );
    }
    return new Set(this.#cleared.filter((going) => !isPresent(going)));
  }

  #quarantine(going: Iterable<Going>): void {
    const { store, floor_ms } = this.#parts;
    store.transaction('normal', () => {
      for (const { holding } of going) enterQuarantine(store, holding.key, { floor_ms });
    });
    this.#holds = true;
  }

  #free(nowMs: number): LeaseKey[] {
    const { store } = this.#parts;
    // a step is taken fifty times a second, or a thousand, and mostly for nothing
    if (!this.#holds || nowMs - this.#freedMs < FREE_INTERVAL_MS || nowMs < this.#flushMs) return [];
    this.#freedMs = nowMs;
    const quiet = this.#flush(nowMs);
    const freed = releaseDue(store, FLUSH_PER_STEP, (lease) => quiet.has(lease.slot) || isReleasedEarly(lease));
    this.#holds = freed.length > 0 || hasQuarantined(store);
    return freed;
  }

  /**
   * Deletes the flows of those that have entered quarantine, and looks again at those whose time is over: an address
   * that somebody still sends to would bring the next owner what was meant for the last.
   *
   * @returns slots that are due and whose addresses nobody has used meanwhile
   */
  #flush(nowMs: number): ReadonlySet<Slot> {
    const { store, layout, floor_ms, flush } = this.#parts;
    const waiting = awaitingFlush(store, FLUSH_PER_STEP);
    const due = dueLeases(store, FLUSH_PER_STEP).filter((lease) => !isReleasedEarly(lease));
    if (waiting.length + due.length === 0) return new Set();
    const addressed = (leases: readonly Lease[]): { lease: Lease; address: Ipv4 }[] =>
      leases.map((lease) => ({ lease, address: outsideAddress(holdingOf(lease), layout) }));
    const [entered, ended] = [addressed(waiting), addressed(due)];
    const { found, left } = flush(new Set([...entered, ...ended].map(({ address }) => address)));
    // What cannot be verified stays, and is tried again; it holds up no other.
    const flushed = entered.filter(({ address }) => !left.has(address)).map(({ lease }) => lease);
    if (flushed.length > 0) markFlushed(store, flushed);
    const used = ended.filter(({ address }) => found.has(address)).map(({ lease }) => lease);
    if (used.length > 0) restAgain(store, used, { floor_ms });
    const endMs = store.clock.monotonicMs();
    // where there are more than go at once, the rest follow at once
    const isAll = waiting.length < FLUSH_PER_STEP && due.length < FLUSH_PER_STEP;
    this.#flushMs = isAll ? endMs + Math.min(FLUSH_REST_MAX_MS, (endMs - nowMs) * FLUSH_REST) : endMs;
    return new Set(due.filter((lease) => !used.includes(lease)).map(({ slot }) => slot));
  }

  #refuse(going: Going, error: unknown, nowMs: number): void {
    const pauseMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** going.attempts);
    going.attempts++;
    const reason = error instanceof Error ? error.message : String(error);
    this.#refused.push({ going, reason, againMs: nowMs + pauseMs });
  }

  #askAgain(nowMs: number): void {
    const due = this.#refused.filter(({ againMs }) => nowMs >= againMs);
    if (due.length === 0) return;
    this.#refused = this.#refused.filter((one) => !due.includes(one));
    this.#queue.push(...due.map(({ going }) => going));
  }
}
