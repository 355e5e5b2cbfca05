import type { Slot, Topology } from '../ipam/lease.ts';
import type { Holding } from './holding.ts';

/** Networks that are built and wait for an owner, by topology, the oldest first. */
export class Pool {
  readonly #waiting = new Map<Topology, Holding[]>();
  #sizes: Readonly<Record<Topology, number>>;

  /** @param sizes how many of each to keep waiting */
  constructor(sizes: Readonly<Record<Topology, number>>) {
    this.#sizes = sizes;
  }

  add(holding: Holding): void {
    const waiting = this.#waiting.get(holding.topology);
    if (waiting === undefined) this.#waiting.set(holding.topology, [holding]);
    else waiting.push(holding);
  }

  take(topology: Topology): Holding | undefined {
    return this.#waiting.get(topology)?.shift();
  }

  /** Puts back what was taken and not used, so that it is the next again. */
  giveBack(holding: Holding): void {
    this.#waiting.get(holding.topology)?.unshift(holding);
  }

  /** Takes one out for good; undefined where the slot does not wait here. */
  remove(slot: Slot): Holding | undefined {
    for (const waiting of this.#waiting.values()) {
      const at = waiting.findIndex(({ key }) => key.slot === slot);
      if (at >= 0) return waiting.splice(at, 1)[0];
    }
    return undefined;
  }

  size(topology: Topology): number {
    return this.#waiting.get(topology)?.length ?? 0;
  }

  /** Takes out all, and keeps none from now on. */
  drain(): Holding[] {
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    this.#sizes = { microvm: 0, netns: 0, bridge: 0 };
    return all;
  }

  /** Takes out those that are more than are to be kept, as after a start with a smaller pool, at most `limit`. */
  surplus(topology: Topology, limit: number): Holding[] {
    const extra = Math.max(0, this.size(topology) - this.#sizes[topology]);
    return this.#waiting.get(topology)?.splice(0, Math.min(extra, limit)) ?? [];
  }

  /** How many are to be kept. */
  wanted(topology: Topology): number {
    return this.#sizes[topology];
  }

  /** How many are missing. */
  shortage(topology: Topology): number {
    return Math.max(0, this.#sizes[topology] - this.size(topology));
  }
}
