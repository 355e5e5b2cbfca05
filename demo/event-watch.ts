import type { CulvertClient, EventResource } from '../src/api/client/client.ts';

/** Listens to a daemon's event stream, and keeps what it told. */
export class EventWatch implements AsyncDisposable {
  readonly #abort = new AbortController();
  readonly #events: EventResource[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #ended: Promise<void>;
  #failure: unknown;

  constructor(client: CulvertClient) {
    this.#ended = this.#listen(client).catch((error: unknown) => {
      this.#failure = error;
      this.#wake();
    });
  }

  /** The first event that is as wanted, told already or yet to be; undefined when none is within `patienceMs`. */
  async find(isWanted: (event: EventResource) => boolean, patienceMs: number): Promise<EventResource | undefined> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const found = this.#events.find(isWanted);
      if (found !== undefined || performance.now() >= deadline) return found;
      if (this.#failure !== undefined) throw this.#failure;
      await this.#more(deadline - performance.now());
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  async #listen(client: CulvertClient): Promise<void> {
    for await (const told of client.events({ signal: this.#abort.signal })) {
      if (told === 'lost') throw new Error('Events were lost');
      this.#events.push(told.event);
      this.#wake();
    }
  }

  async #more(patienceMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    const timer = setTimeout(resolve, patienceMs);
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(resolve);
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
  }
}
