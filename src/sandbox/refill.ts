import { claim, type SlotRange, SlotsExhausted } from '../ipam/allocator.ts';
import { isInConflict } from '../ipam/bridge/conflict.ts';
import { BridgeExhausted } from '../ipam/bridge/usage.ts';
import { TOPOLOGIES, type Topology } from '../ipam/lease.ts';
import type { Store } from '../ipam/store.ts';
import { advance } from '../ipam/transition.ts';
import type { Batch } from './crew/batch.ts';
import type { Crew } from './crew/crew.ts';
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

/** What one topology waits for: none is begun before `notBeforeMs`, and not more than `atMost` after a failure. */
type Turn = { lastMs: number; notBeforeMs: number; atMost: number; missingSinceMs: number | undefined };

/** Fills the warm pool up, some networks at a time, and takes away what it has too many. */
export class Refill {
  readonly #parts: RefillParts;
  readonly #turns: Readonly<Record<Topology, Turn>> = { microvm: newTurn(), netns: newTurn(), bridge: newTurn() };
  #building: Building | undefined;

  constructor(parts: RefillParts) {
    this.#parts = parts;
  }

  /** Leases whose networks are still to be built. */
  get claimed(): number {
    return this.#building === undefined ? 0 : this.#building.holdings.length - this.#building.settled;
  }

  /** One step. Says whether there is more to do that this thread can do now. */
  step(nowMs: number): boolean {
    if (this.#building !== undefined) return this.#goOn(this.#building, nowMs);
    for (const topology of TOPOLOGIES) {
      const surplus = this.#parts.pool.surplus(topology, CLAIMED_TOGETHER);
      if (surplus.length === 0) continue;
      this.#parts.abandon(surplus);
      return true;
    }
    return this.#due(nowMs).some((topology) => this.#begin(topology, nowMs));
  }

  /** Ends what is under way, and gives all up. */
  drain(): void {
    const { pool, abandon } = this.#parts;
    const holdings = pool.drain();
    this.stop();
    if (holdings.length > 0) abandon(holdings);
  }

  /** Gives up what is under way; it begins again. */
  stop(): void {
    if (this.#building === undefined) return;
    const { crew, abandon } = this.#parts;
    const { batch, holdings, settled } = this.#building;
    batch.job.cancel();
    crew.finish(batch);
    this.#building = undefined;
    abandon(holdings.slice(settled));
  }

  /** The topologies that it is time for, the one that lacks the most first, and of equals the one that waits the longest. */
  #due(nowMs: number): Topology[] {
    const { pool } = this.#parts;
    const lack = (topology: Topology): number => pool.shortage(topology) / pool.wanted(topology);
    return TOPOLOGIES.filter((topology) => {
      const turn = this.#turns[topology];
      const missing = pool.shortage(topology);
      turn.missingSinceMs = missing === 0 ? undefined : (turn.missingSinceMs ?? nowMs);
      if (turn.missingSinceMs === undefined || nowMs < turn.notBeforeMs) return false;
      const few = Math.min(CLAIMED_TOGETHER, Math.ceil(pool.wanted(topology) * MISSING_SHARE));
      return missing >= few || nowMs - turn.missingSinceMs >= PATIENCE_MS;
    }).toSorted((a, b) => lack(b) - lack(a) || this.#turns[a].lastMs - this.#turns[b].lastMs);
  }

  #begin(topology: Topology, nowMs: number): boolean {
    const { pool, crew, slots, abandon } = this.#parts;
    const turn = this.#turns[topology];
    turn.lastMs = nowMs;
    turn.missingSinceMs = undefined;
    const most = Math.min(CLAIMED_TOGETHER, turn.atMost, slots.last - slots.first + 1);
    const count = Math.min(pool.shortage(topology), most);
    const holdings = this.#claimSome(topology, count);
    if (holdings.length === 0) {
      turn.notBeforeMs = nowMs + PATIENCE_MS;
      return false;
    }
    try {
      this.#building = { topology, holdings, batch: crew.begin('build', holdings.map(networkOf)), settled: 0 };
    } catch (error) {
      abandon(holdings);
      throw error;
    }
    return true;
  }

  /**
   * As many as are asked for or, where there are not so many, the half, until some are. A pool that cannot be filled is
   * no failure: those who ask for a sandbox are told what is used up.
   */
  #claimSome(topology: Topology, count: number): Holding[] {
    if (count === 0) return [];
    const { store, slots } = this.#parts;
    const requests = Array.from({ length: count }, () => ({ topology }));
    try {
      return claim(store, requests, slots).map(holdingOf);
    } catch (error) {
      if (!(error instanceof SlotsExhausted || error instanceof BridgeExhausted)) throw error;
      return this.#claimSome(topology, count >> 1);
    }
  }

  /** Says whether the next step has something to do: not where the helper is at it. */
  #goOn(building: Building, nowMs: number): boolean {
    const { crew, pool } = this.#parts;
    const { topology, batch, holdings } = building;
    const isLow = pool.size(topology) < pool.wanted(topology) * LOW_SHARE;
    const hasJoined = isLow && crew.join(batch, 1);
    let next = building.settled;
    while (next < holdings.length && batch.outcome(next) !== 'pending') next++;
    // what was heard of failures after this is of what was settled before
    const isOver = crew.advance(batch, BUILT_PER_STEP) && next === holdings.length;
    if (isOver) this.#building = undefined;
    this.#settle(building, next, nowMs);
    return isOver || hasJoined || crew.isAlone;
  }

  /** What is built waits in the pool from now on, in the order it was claimed in; what is not is given up. */
  #settle(building: Building, next: number, nowMs: number): void {
    const { store, pool, abandon } = this.#parts;
    const { topology, holdings, batch } = building;
    const from = building.settled;
    if (next === from) return;
    building.settled = next;
    const settled = holdings.slice(from, next);
    const good = settled.filter(
      ({ bridgeAddress }, index) =>
        batch.outcome(from + index) === 'done' && (bridgeAddress === undefined || !isInConflict(store, bridgeAddress)),
    );
    const bad = settled.filter((holding) => !good.includes(holding));
    try {
      store.transaction('normal', () => {
        for (const { key } of good) advance(store, key, 'warm');
      });
    } catch (error) {
      abandon(settled);
      throw error;
    }
    for (const holding of good) pool.add({ ...holding, state: 'warm' });
    const turn = this.#turns[topology];
    if (good.length > 0) turn.atMost = CLAIMED_TOGETHER;
    if (bad.length === 0) return;
    abandon(bad);
    const { failure } = batch;
    if (failure === undefined) return;
    // what fails again and again must not use up the slots
    turn.atMost = 1;
    turn.notBeforeMs = nowMs + FAILURE_REST_MS;
    throw failure;
  }
}

function newTurn(): Turn {
  return { lastMs: 0, notBeforeMs: 0, atMost: CLAIMED_TOGETHER, missingSinceMs: undefined };
}
