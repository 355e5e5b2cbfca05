/**
 * Messages to another thread that go together: each that is posted by itself wakes the other thread and is copied and
 * handed out by itself, which for a small one is most of what it costs.
 */
export class Outbox<T> {
  readonly #post: (messages: readonly T[]) => void;
  #messages: T[] = [];

  constructor(post: (messages: readonly T[]) => void) {
    this.#post = post;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** To be posted with the next {@link flush}, after what was added before. */
  add(message: T): void {
    this.#messages.push(message);
  }

  flush(): void {
    if (this.isEmpty) return;
    const messages = this.#messages;
    this.#messages = [];
    this.#post(messages);
  }
}
