import type { Ipv4 } from '../addr/ipv4.ts';
import type { LeaseKey } from '../ipam/lease.ts';
import { awaitingFlush, enterQuarantine, markFlushed, releaseDue } from '../ipam/quarantine.ts';
import type { Store } from '../ipam/store.ts';
import type { Kernel } from '../linux/apply.ts';
import { NamespaceHandle } from '../linux/namespace.ts';
import { diff } from '../plan/diff.ts';
import { ROUTER } from '../plan/state.ts';
import { type Holding, holdingOf, networkOf, outsideAddress } from './holding.ts';
import { desired } from './topology/desired.ts';
import { cable, type Layout, sandboxNamespace } from './topology/layout.ts';

/** Networks that one step unpins, so that a step stays short: each waits for a grace period. */
const UNPIN_PER_STEP = 16;
/**
 * How long a removal waits for others. The kernel clears up all namespaces that it finds waiting in one go, for a few
 * grace periods in which nobody else gets the RTNL lock: the more go together the less creations wait.
 */
const GATHER_MS = 20;
/** So many are enough. */
const GATHER_MAX = 256;
/** Leases that one step flushes and frees. */
const FLUSH_PER_STEP = 1024;
/** A process that stays in a namespace keeps its cable: after this long the cable is cut on the router's side. */
const HELD_AFTER_MS = 2_000;
/** Of the time in quarantine: how often connection tracking is read, all of it for however many addresses. */
const FLUSH_INTERVAL = 1 / 4;
const FLUSH_INTERVAL_MAX_MS = 250;
/** How often a removal that the kernel refuses is tried before a person has to look. */
const MAX_ATTEMPTS = 8;

export type ReaperParts = {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly layout: Layout;
  /** the least time in quarantine */
  readonly floor_ms: number;
  /** Deletes what connection tracking knows of the addresses and says whether nothing of it is left. */
  readonly flush: (addresses: ReadonlySet<Ipv4>) => boolean;
};

type Going = { readonly holding: Holding; unpinnedMs: number; attempts: number };

/** What a removal could not do, for a person. */
export type Stuck = { readonly key: LeaseKey; readonly reason: string };

/**
 * Clears up after removals, a short step at a time: unpin the namespace, see that its cable is gone, put the lease
 * into quarantine, flush its flows, let it go when its time is over. What it works from are leases in `removing` and
 * `quarantined`, so a new daemon goes on where the last one stopped.
 */
export class Reaper implements Disposable {
  readonly #parts: ReaperParts;
  readonly #queue: Going[] = [];
  #unpinned: Going[] = [];
  readonly #held: NamespaceHandle[] = [];
  /** since when the oldest in the queue waits */
  #gatheringMs = 0;
  /** of the queue, those that go now */
  #together = 0;
  #flushedMs = Number.NEGATIVE_INFINITY;
  readonly #stuck: Stuck[] = [];

  constructor(parts: ReaperParts) {
    this.#parts = parts;
  }

  /** @param holding in state `removing`, cut off already */
  add(holding: Holding): void {
    if (this.#queue.length === 0) this.#gatheringMs = this.#parts.store.clock.monotonicMs();
    this.#queue.push({ holding, unpinnedMs: 0, attempts: 0 });
  }

  get pending(): number {
    return this.#queue.length + this.#unpinned.length;
  }

  get stuck(): readonly Stuck[] {
    return this.#stuck;
  }

  /** One step. Returns the leases that are free now. */
  step(): LeaseKey[] {
    const { store } = this.#parts;
    const nowMs = store.clock.monotonicMs();
    for (const going of this.#takeGathered(nowMs)) this.#unpin(going, nowMs);
    this.#letGo();
    const gone = this.#findGone(nowMs);
    if (gone.size > 0) {
      store.transaction('normal', () => {
        for (const { holding } of gone) enterQuarantine(store, holding.key, { floor_ms: this.#parts.floor_ms });
      });
      this.#unpinned = this.#unpinned.filter((going) => !gone.has(going));
    }
    this.#flush(nowMs);
    return releaseDue(store, FLUSH_PER_STEP);
  }

  #takeGathered(nowMs: number): Going[] {
    if (this.#together === 0) {
      const isTime = this.#queue.length >= GATHER_MAX || nowMs - this.#gatheringMs >= GATHER_MS;
      if (isTime) this.#together = Math.min(this.#queue.length, GATHER_MAX);
    }
    const taken = this.#queue.splice(0, Math.min(this.#together, UNPIN_PER_STEP));
    this.#together -= taken.length;
    if (taken.length > 0 && this.#together === 0) this.#gatheringMs = nowMs;
    return taken;
  }

  /** For when the router has gone, and all cables with it: nothing is left to wait for. */
  quarantineAll(): void {
    this[Symbol.dispose]();
    const { store, floor_ms } = this.#parts;
    const going = [...this.#queue.splice(0), ...this.#unpinned.splice(0)];
    if (going.length === 0) return;
    store.transaction('normal', () => {
      for (const { holding } of going) enterQuarantine(store, holding.key, { floor_ms });
    });
  }

  /** What was let go of goes now; the leases tell the next run of the rest. */
  [Symbol.dispose](): void {
    for (const handle of this.#held.splice(0)) handle[Symbol.dispose]();
  }

  #letGo(): void {
    if (this.#together > 0) return;
    for (const handle of this.#held.splice(0)) handle[Symbol.dispose]();
  }

  #unpin(going: Going, nowMs: number): void {
    const { kernel, layout } = this.#parts;
    const { holding } = going;
    try {
      const namespace = sandboxNamespace(holding.key.slot);
      // Repeating a removal after a crash must not fail on what is gone: only what exists is taken away.
      const objects = desired(networkOf(holding), layout).filter(
        (object) => object.kind !== 'namespace' || kernel.exists(namespace),
      );
      if (kernel.exists(namespace)) this.#held.push(new NamespaceHandle(kernel.pin(namespace)));
      kernel.remove(diff(objects, []));
      going.unpinnedMs = nowMs;
      this.#unpinned.push(going);
    } catch (error) {
      this.#retry(going, error);
    }
  }

  /** The router's end of a cable goes with the namespace at its other end, when nobody is in it any more. */
  #findGone(nowMs: number): Set<Going> {
    if (this.#unpinned.length === 0) return new Set();
    const { kernel } = this.#parts;
    const links = this.#unpinned.map(({ holding }) => cable(holding.key.slot));
    const present = kernel.presentLinks(ROUTER, links);
    const isPresent = ({ holding }: Going): boolean => present.has(cable(holding.key.slot).index);
    const held = this.#unpinned.filter((going) => isPresent(going) && nowMs - going.unpinnedMs > HELD_AFTER_MS);
    if (held.length > 0) {
      kernel.deleteLinks(
        ROUTER,
        held.map(({ holding }) => cable(holding.key.slot)),
      );
    }
    return new Set(this.#unpinned.filter((going) => !isPresent(going)));
  }

  #flush(nowMs: number): void {
    const { store, layout, floor_ms, flush } = this.#parts;
    if (nowMs - this.#flushedMs < Math.min(floor_ms * FLUSH_INTERVAL, FLUSH_INTERVAL_MAX_MS)) return;
    const waiting = awaitingFlush(store, FLUSH_PER_STEP);
    if (waiting.length === 0) return;
    // where there are more than go at once, the rest follow at once
    if (waiting.length < FLUSH_PER_STEP) this.#flushedMs = nowMs;
    const addresses = new Set(waiting.map((lease) => outsideAddress(holdingOf(lease), layout)));
    // What cannot be verified stays, and is tried again.
    if (flush(addresses)) markFlushed(store, waiting);
  }

  #retry(going: Going, error: unknown): void {
    going.attempts++;
    if (going.attempts < MAX_ATTEMPTS) this.#queue.push(going);
    else this.#stuck.push({ key: going.holding.key, reason: error instanceof Error ? error.message : String(error) });
  }
}
