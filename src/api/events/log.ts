import type { CulvertEvent } from '../../daemon/engine.ts';
import { CulvertError, InputError } from '../../errors.ts';

/** An event with the id that a stream goes on from: `<run>-<sequence>`. */
export type LoggedEvent = { readonly id: string; readonly event: CulvertEvent };

/** What a reader gets: an event, or word that some before the next one are lost to it. */
export type Reading = LoggedEvent | 'lost';

type Options = {
  /** Tells this run of the daemon from others, whose sequences begin at 1 too; `0-9`, `a-z`. */
  readonly run: string;
  /** How many events are kept at least. */
  readonly capacity: number;
  /** How many readers there may be at a time. */
  readonly readers: number;
};

/**
 * The last events, kept once for all readers: a reader is a position in them, so that one who does not read costs
 * nothing, and loses events rather than the daemon memory.
 */
export class EventLog {
  readonly #options: Options;
  readonly #readers = new Set<EventReader>();
  #events: LoggedEvent[] = [];
  /** How many events came before the first that is kept. */
  #dropped = 0;

  constructor(options: Options) {
    this.#options = options;
  }

  get readerCount(): number {
    return this.#readers.size;
  }

  append(event: CulvertEvent): void {
    const { run, capacity } = this.#options;
    this.#events.push({ id: `${run}-${event.sequence}`, event });
    // Half of them at a time: to shift an array at each event would cost its length.
    if (this.#events.length > 2 * capacity) {
      this.#dropped += this.#events.length - capacity;
      this.#events = this.#events.slice(-capacity);
    }
    for (const reader of this.#readers) reader.wake();
  }

  /**
   * A reader of what follows the event `after` or, without one, of what is still to come.
   *
   * @throws InputError `invalid_event_id`; CulvertError `subscribers_exhausted`
   */
  read(after?: string): EventReader {
    const start = after === undefined ? { position: this.#end, isLost: false } : this.#startAfter(after);
    const { readers } = this.#options;
    if (this.#readers.size >= readers) {
      throw new CulvertError('subscribers_exhausted', `Cannot open an event stream: ${readers} are open already`);
    }
    const reader = new EventReader({
      ...start,
      first: () => this.#dropped,
      at: (position) => this.#events[position - this.#dropped],
      release: () => this.#readers.delete(reader),
    });
    this.#readers.add(reader);
    return reader;
  }

  /** Ends every reader. */
  close(): void {
    for (const reader of this.#readers) reader.close();
  }

  get #end(): number {
    return this.#dropped + this.#events.length;
  }

  #startAfter(id: string): Start {
    const [, run, sequence] = /^([0-9a-z]{1,32})-([0-9]{1,15})$/.exec(id) ?? [];
    if (run === undefined) {
      const message = `Cannot go on after event ${JSON.stringify(id.slice(0, 60))}: it is not the id of one`;
      throw new InputError('invalid_event_id', message, { field: 'Last-Event-ID' });
    }
    const first = this.#events[0]?.event.sequence ?? 1;
    const position = this.#dropped + Number(sequence) + 1 - first;
    if (run !== this.#options.run || position < this.#dropped) return { position: this.#dropped, isLost: true };
    return { position: Math.min(position, this.#end), isLost: false };
  }
}

/** `position` counts every event that was ever appended. */
type Start = { position: number; isLost: boolean };

type Place = Start & {
  /** the position of the first event that is kept */
  readonly first: () => number;
  readonly at: (position: number) => LoggedEvent | undefined;
  readonly release: () => void;
};

/** One reader's position. */
export class EventReader {
  readonly #place: Place;
  #woken: (() => void) | undefined;
  #isClosed = false;

  constructor(place: Place) {
    this.#place = place;
  }

  /** The next reading, once there is one; undefined when the reader is closed. One call at a time. */
  async next(): Promise<Reading | undefined> {
    const place = this.#place;
    while (!this.#isClosed) {
      if (place.isLost || place.position < place.first()) {
        place.position = Math.max(place.position, place.first());
        place.isLost = false;
        return 'lost';
      }
      const found = place.at(place.position);
      if (found !== undefined) {
        place.position += 1;
        return found;
      }
      await new Promise<void>((resolve) => {
        this.#woken = resolve;
      });
    }
    return undefined;
  }

  wake(): void {
    this.#woken?.();
    this.#woken = undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.#place.release();
    this.wake();
  }
}
