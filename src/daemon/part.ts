/** After a failure, twice as long after each that follows: what made it fail may be over then. */
const REST_MS = { first: 20, most: 1000 } as const;

/**
 * A part of the work that nobody waits for, which is to be done again and again. Where it fails it rests, more and more
 * until it succeeds, and keeps no other part from being done.
 */
export class Part<T> {
  readonly #work: () => T;
  readonly #otherwise: T;
  readonly #failed: (error: unknown) => void;
  #failures = 0;
  #againMs = Number.NEGATIVE_INFINITY;
  /** Why it failed the last time: what goes on is told once. */
  #told: string | undefined;

  /**
   * @param otherwise what {@link step} returns where the work failed, or rests
   * @param failed hears why
   */
  constructor(work: () => T, otherwise: T, failed: (error: unknown) => void) {
    this.#work = work;
    this.#otherwise = otherwise;
    this.#failed = failed;
  }

  /** @param nowMs of a clock that never goes back */
  step(nowMs: number): T {
    if (nowMs < this.#againMs) return this.#otherwise;
    try {
      const result = this.#work();
      this.#failures = 0;
      this.#told = undefined;
      return result;
    } catch (error) {
      this.#againMs = nowMs + Math.min(REST_MS.most, REST_MS.first * 2 ** this.#failures++);
      const reason = error instanceof Error ? error.message : String(error);
      const isNew = reason !== this.#told;
      this.#told = reason;
      if (isNew) this.#failed(error);
      return this.#otherwise;
    }
  }
}
