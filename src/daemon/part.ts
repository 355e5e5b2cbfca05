/** After a failure, twice as long after each that follows: what made it fail may be over then. */
const REST_MS = { first: 20, most: 1000 } as const;
/**
 * For so long after a failure another one of the same kind is told no more. Long enough for work that tries itself again
 * only every few seconds, and has nothing to say in between.
 */
const TOLD_MS = 30_000;

export type PartOptions<T> = {
  /** In words that follow `Cannot`. */
  readonly what: string;
  readonly work: () => T;
  /** What is returned where the work failed, or rests. */
  readonly otherwise: T;
  /** Hears why it failed: once, while it goes on. */
  readonly failed: (error: unknown) => void;
  /** Of a clock that never goes back. */
  readonly nowMs: () => number;
};

/**
 * A part of the work that nobody waits for, which is to be done again and again. Where it fails it rests, more and more
 * until it succeeds, and keeps no other part from being done.
 */
export class Part<T> {
  readonly #options: PartOptions<T>;
  #failures = 0;
  #againMs = Number.NEGATIVE_INFINITY;
  #isFailing = false;
  #last: { readonly reason: string; readonly atMs: number } | undefined;

  constructor(options: PartOptions<T>) {
    this.#options = options;
  }

  step(): T {
    const { work, otherwise, nowMs } = this.#options;
    if (nowMs() < this.#againMs) return otherwise;
    try {
      const result = work();
      this.#failures = 0;
      this.#isFailing = false;
      return result;
    } catch (error) {
      // from its end on: it may have waited for longer than it is to rest
      this.#fail(error, nowMs());
      return otherwise;
    }
  }

  /** In words, where the work failed when it was last done. */
  get failure(): string | undefined {
    if (!this.#isFailing || this.#last === undefined) return undefined;
    return `Cannot ${this.#options.what}, and will try again: ${this.#last.reason}`;
  }

  #fail(error: unknown, atMs: number): void {
    this.#againMs = atMs + Math.min(REST_MS.most, REST_MS.first * 2 ** this.#failures++);
    const reason = error instanceof Error ? error.message : String(error);
    const isNews = this.#last?.reason !== reason || atMs - this.#last.atMs > TOLD_MS;
    this.#last = { reason, atMs };
    this.#isFailing = true;
    if (isNews) this.#options.failed(error);
  }
}
