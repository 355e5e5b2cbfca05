/** How long what repeats is counted before it is told of again. */
const WINDOW_MS = 1000;
/** Different things that one subject is told of in a window; more are told of together. */
const MAX_DETAILS = 8;
/** Windows open at one time: the rules report less than this in a second. */
const MAX_WINDOWS = 4096;

export type Told<T> = {
  readonly item: T;
  /** how many there were since this was told of last */
  readonly count: number;
  /** `item` is the last of several different ones that were counted together */
  readonly mixed: boolean;
};

type Window<T> = { item: T; count: number; readonly mixed: boolean; endMs: number };

/**
 * Tells of the first of a kind at once, and of those that follow once a second with how many there were: a flood makes
 * a few lines, whatever is in it.
 */
export class Tally<T> {
  readonly #windows = new Map<string, Map<string, Window<T>>>();
  #size = 0;
  #untold = 0;

  /** How many there was no room to count. */
  get untold(): number {
    return this.#untold;
  }

  /**
   * @param subject whom it is about; each has room for a few details
   * @param detail what about it: two that are equal here are the same thing
   * @param nowMs of a clock that never goes back
   * @returns what to tell now; undefined where it is only counted
   */
  add(subject: string, detail: string, item: T, nowMs: number): Told<T> | undefined {
    let windows = this.#windows.get(subject);
    if (windows === undefined) this.#windows.set(subject, (windows = new Map()));
    const mixed = !windows.has(detail) && windows.size >= MAX_DETAILS;
    const key = mixed ? '' : detail;
    const open = windows.get(key);
    if (open !== undefined) {
      open.item = item;
      open.count++;
      return undefined;
    }
    if (this.#size >= MAX_WINDOWS) {
      this.#untold++;
      return undefined;
    }
    windows.set(key, { item, count: 0, mixed, endMs: nowMs + WINDOW_MS });
    this.#size++;
    return { item, count: 1, mixed };
  }

  /** What was counted in windows that are over. */
  flush(nowMs: number): Told<T>[] {
    const told: Told<T>[] = [];
    for (const [subject, windows] of this.#windows) {
      for (const [key, open] of windows) {
        if (open.endMs > nowMs) continue;
        if (open.count === 0) {
          windows.delete(key);
          this.#size--;
          continue;
        }
        told.push({ item: open.item, count: open.count, mixed: open.mixed });
        open.count = 0;
        open.endMs = nowMs + WINDOW_MS;
      }
      if (windows.size === 0) this.#windows.delete(subject);
    }
    return told;
  }
}
