import { claim, type SlotRange, SlotsExhausted } from '../ipam/allocator.ts';
import { BridgeExhausted } from '../ipam/bridge/usage.ts';
import { TOPOLOGIES, type Topology } from '../ipam/lease.ts';
import type { Store } from '../ipam/store.ts';
import { advance } from '../ipam/transition.ts';
import type { Batch, Crew } from './crew/crew.ts';
import { type Holding, holdingOf, networkOf } from './holding.ts';
import type { Pool } from './pool.ts';

/** Networks that one step builds where nobody helps, so that a step stays short. */
const BUILT_PER_STEP = 2;
/** Leases that are claimed together, for one wait for the disk. */
const CLAIMED_TOGETHER = 16;
/** Of the pool's size: so many have to be missing before it is filled up, or {@link PATIENCE_MS} be over. */
const MISSING_SHARE = 1 / 4;
const PATIENCE_MS = 250;
/** Of the pool's size: with fewer than this, work on it is nobody's spare time any more. */
const LOW_SHARE = 1 / 2;
/** After a network that could not be built. */
const FAILURE_REST_MS = 1000;

export type RefillParts = {
  readonly store: Store;
  readonly crew: Crew;
  readonly pool: Pool;
  readonly slots: SlotRange;
  /** Takes what was begun and will not be finished. */
  readonly abandon: (holdings: readonly Holding[]) => void;
};

/** Networks under way to the pool, all of one topology; `settled` of them, from the first, are seen to. */
type Building = {
  readonly topology: Topology;
  readonly holdings: readonly Holding[];
  readonly batch: Batch;
  settled: number;
};

/** Fills the warm pool up, some networks at a time, and takes away what it has too many. */
export class Refill {
  readonly #parts: RefillParts;
  #building: Building | undefined;
  /** Since when the pool is not full. */
  #missingSinceMs: number | undefined;
  #restsUntilMs = 0;

  constructor(parts: RefillParts) {
    this.#parts = parts;
  }

  /** Leases whose networks are still to be built. */
  get claimed(): number {
    return this.#building === undefined ? 0 : this.#building.holdings.length - this.#building.settled;
  }

  /** One step. Says whether there is more to do that can be done now. */
  step(nowMs: number): boolean {
    if (nowMs < this.#restsUntilMs) return false;
    if (this.#building !== undefined) {
      // what fails again and again must not use up the slots
      this.#restsUntilMs = nowMs + FAILURE_REST_MS;
      const hasMore = this.#goOn(this.#building);
      this.#restsUntilMs = 0;
      return hasMore;
    }
    for (const topology of TOPOLOGIES) {
      const surplus = this.#parts.pool.surplus(topology, CLAIMED_TOGETHER);
      if (surplus.length === 0) continue;
      this.#parts.abandon(surplus);
      return true;
    }
    return this.#due(nowMs).some((topology) => this.#begin(topology));
  }

  /** Ends what is under way, and gives all up. */
  drain(): void {
    const { crew, pool, abandon } = this.#parts;
    const holdings = pool.drain();
    if (this.#building !== undefined) {
      const { batch, holdings: claimed, settled } = this.#building;
      batch.job.cancel();
      crew.finish(batch);
      holdings.push(...claimed.slice(settled));
      this.#building = undefined;
    }
    if (holdings.length > 0) abandon(holdings);
  }

  /** The topologies that it is time for, the one that lacks the most first. */
  #due(nowMs: number): Topology[] {
    const { pool } = this.#parts;
    const missing = TOPOLOGIES.filter((topology) => pool.shortage(topology) > 0);
    if (missing.length === 0) this.#missingSinceMs = undefined;
    else this.#missingSinceMs ??= nowMs;
    const isLate = this.#missingSinceMs !== undefined && nowMs - this.#missingSinceMs >= PATIENCE_MS;
    return missing
      .filter((topology) => {
        const few = Math.min(CLAIMED_TOGETHER, Math.ceil(pool.wanted(topology) * MISSING_SHARE));
        return isLate || pool.shortage(topology) >= few;
      })
      .toSorted((a, b) => pool.shortage(b) / pool.wanted(b) - pool.shortage(a) / pool.wanted(a));
  }

  #begin(topology: Topology): boolean {
    const { pool, crew } = this.#parts;
    try {
      const holdings = this.#claimSome(topology, Math.min(pool.shortage(topology), CLAIMED_TOGETHER));
      const batch = crew.begin('build', holdings.map(networkOf));
      this.#building = { topology, holdings, batch, settled: 0 };
      return true;
    } catch (error) {
      // A pool that cannot be filled is no failure: those who ask for a sandbox are told what is used up.
      if (error instanceof SlotsExhausted || error instanceof BridgeExhausted) return false;
      throw error;
    }
  }

  /** As many as are missing or, where there are not so many, the half, until some are. */
  #claimSome(topology: Topology, missing: number): Holding[] {
    const { store, slots } = this.#parts;
    const requests = Array.from({ length: missing }, () => ({ topology }));
    try {
      return claim(store, requests, slots).map(holdingOf);
    } catch (error) {
      const isExhausted = error instanceof SlotsExhausted || error instanceof BridgeExhausted;
      if (!isExhausted || missing === 1) throw error;
      return this.#claimSome(topology, missing >> 1);
    }
  }

  /** Says whether the next step has something to do: not where the helper is at it. */
  #goOn(building: Building): boolean {
    const { crew, pool } = this.#parts;
    const { topology, batch } = building;
    const isLow = pool.size(topology) < pool.wanted(topology) * LOW_SHARE;
    if (isLow) crew.join(batch, 1);
    const isOver = crew.advance(batch, BUILT_PER_STEP);
    this.#settle(building);
    if (isOver) this.#building = undefined;
    return isOver || isLow || crew.isAlone;
  }

  /** What is built waits in the pool from now on, in the order it was claimed in; what is not is given up. */
  #settle(building: Building): void {
    const { store, pool, abandon } = this.#parts;
    const { holdings, batch } = building;
    const from = building.settled;
    while (building.settled < holdings.length && batch.outcome(building.settled) !== 'pending') building.settled++;
    const settled = holdings.slice(from, building.settled);
    const built = settled.filter((_, index) => batch.outcome(from + index) === 'done');
    const failed = settled.filter((holding) => !built.includes(holding));
    if (built.length > 0) {
      try {
        store.transaction('normal', () => {
          for (const { key } of built) advance(store, key, 'warm');
        });
      } catch (error) {
        abandon(settled);
        throw error;
      }
      for (const holding of built) pool.add({ ...holding, state: 'warm' });
    }
    if (failed.length === 0) return;
    abandon(failed);
    if (batch.failure !== undefined) throw batch.failure;
  }
}
