/** What can be done for a network by whichever thread is free: nothing of it touches a lease or the router's tables. */
export type Task =
  /** Makes all its kernel objects, or none. */
  | 'build'
  /** Unpins its namespace, and removes what does not go with that. */
  | 'clear'
  /** Says whether its namespace holds what it should and no more, and its cable is what it should be; changes nothing. */
  | 'compare';

/** Which comes first where the helper has several: what somebody waits for, then what leads to it, then the rest. */
export const URGENCY = { waitedFor: 2, build: 1, clear: 1, compare: 0 } as const;

export type Urgency = (typeof URGENCY)[keyof typeof URGENCY];

export type Outcome = 'pending' | 'done' | 'differs' | 'failed' | 'skipped';

const PENDING = 0;
const OUTCOMES: readonly Outcome[] = ['pending', 'done', 'differs', 'failed', 'skipped'];

/** Where in the cells what stands: the item to be taken next, how many have an outcome, and from there each outcome. */
const NEXT = 0;
const SETTLED = 1;
const FIRST = 2;

/**
 * A list of items that several threads work off together: each takes the next one that nobody has, so that who is slow
 * or busy holds up nobody. All that they share is these cells.
 */
export class Job {
  readonly cells: Int32Array<SharedArrayBuffer>;

  /** @param cells of the job on the thread that made it, for another one */
  constructor(count: number, cells = new Int32Array(new SharedArrayBuffer(4 * (FIRST + count)))) {
    this.cells = cells;
  }

  get count(): number {
    return this.cells.length - FIRST;
  }

  /** The index of an item that is the caller's from now on; undefined where all are taken. */
  take(): number | undefined {
    const index = Atomics.add(this.cells, NEXT, 1);
    return index < this.count ? index : undefined;
  }

  /** To be called for each item by who took it; the first outcome is the one that counts. */
  settle(index: number, outcome: Exclude<Outcome, 'pending'>): void {
    if (Atomics.compareExchange(this.cells, FIRST + index, PENDING, OUTCOMES.indexOf(outcome)) !== PENDING) return;
    Atomics.add(this.cells, SETTLED, 1);
    Atomics.notify(this.cells, SETTLED);
  }

  /** Skips what nobody has taken. */
  cancel(): void {
    const taken = Atomics.exchange(this.cells, NEXT, this.count);
    for (let index = taken; index < this.count; index++) this.settle(index, 'skipped');
  }

  /** Settles what was taken by who will not settle it, and returns the indexes of that. */
  settleTaken(outcome: Exclude<Outcome, 'pending'>): number[] {
    const taken = Math.min(Atomics.load(this.cells, NEXT), this.count);
    const pending = Array.from({ length: taken }, (_, index) => index).filter(
      (index) => this.outcome(index) === 'pending',
    );
    for (const index of pending) this.settle(index, outcome);
    return pending;
  }

  outcome(index: number): Outcome {
    return OUTCOMES[Atomics.load(this.cells, FIRST + index)] ?? 'pending';
  }

  /** Whether every item has its outcome. */
  get isOver(): boolean {
    return Atomics.load(this.cells, SETTLED) >= this.count;
  }

  /** Blocks the thread until the next outcome of another one, or for so long. Says whether something has come. */
  wait(limitMs: number): boolean {
    const settled = Atomics.load(this.cells, SETTLED);
    return settled >= this.count || Atomics.wait(this.cells, SETTLED, settled, limitMs) !== 'timed-out';
  }
}
