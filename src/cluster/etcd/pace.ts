/** Messages that are heard as they come, where nothing was heard for a while. */
const AT_ONCE = 4;
/** ms for each key that is followed */
const REST_PER_KEY_MS = 2;
const REST_MAX_MS = 5000;

/**
 * How fast a follower listens. etcd sends a message to every watcher for every write: where a thousand hosts join at
 * once that is a million, and most of what it does. Who hears several in a row lets go of its watch for a while, and is
 * told in one message then, whatever it is. The more there are the longer that is, so that all of them together are told
 * no more often than a few; a change that comes by itself is heard at once.
 */
export class Pace {
  #allowance = AT_ONCE;
  #heardMs: number;

  /** @param nowMs of a clock that never goes back */
  constructor(nowMs: number) {
    this.#heardMs = nowMs;
  }

  /**
   * Takes note of a message.
   *
   * @param keys that are followed
   * @returns ms to rest, 0 to go on
   */
  heard(keys: number, nowMs: number): number {
    const restMs = Math.min(Math.max(keys, 1) * REST_PER_KEY_MS, REST_MAX_MS);
    this.#allowance = Math.min(AT_ONCE, this.#allowance + (nowMs - this.#heardMs) / restMs) - 1;
    this.#heardMs = nowMs;
    return this.#allowance < 0 ? restMs : 0;
  }
}
