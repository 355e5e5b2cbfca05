import type { CulvertEvent, NewEvent } from '../sandbox/event.ts';

/** Events that wait for the first listener; of more, the oldest are lost, which a gap in the numbers shows. */
const MAX_WAITING = 10_000;

/**
 * Numbers events and hands them to whoever listens, in order. What comes before anybody does, while the daemon starts,
 * waits for the first.
 */
export class Listeners {
  readonly #listeners = new Set<(event: CulvertEvent) => void>();
  #waiting: CulvertEvent[] | undefined = [];
  #last = 0;

  publish(event: NewEvent): void {
    const whole = { sequence: 0, wallMs: Date.now(), ...event };
    // one that comes from another list has a number of that one's
    whole.sequence = ++this.#last;
    for (const listener of this.#listeners) listener(whole);
    if (this.#waiting?.push(whole) === MAX_WAITING + 1) this.#waiting.shift();
  }

  /** Calls `listener` until the returned function is called; the first one at once, with what waits. */
  add(listener: (event: CulvertEvent) => void): () => void {
    for (const event of this.#waiting ?? []) listener(event);
    this.#waiting = undefined;
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
