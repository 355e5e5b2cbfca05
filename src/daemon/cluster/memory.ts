import type { MeshPeer } from '../../mesh/peers.ts';
import { type Place, type Seat, writeSeat } from './seat.ts';

/** How long what is remembered of the peers is not written again; changes that come meanwhile go together. */
const REMEMBER_MS = 1000;

export type MemoryParts = {
  readonly stateDir: string;
  readonly identity: Seat['identity'];
  readonly place: Place;
  /** those that are known by now */
  readonly peers: () => readonly MeshPeer[];
  /** Hears why it could not be written; it is when there is more to remember. */
  readonly failed: (error: unknown) => void;
};

/** Keeps in the state folder what the host is to know when it starts again. */
export class Memory {
  readonly #parts: MemoryParts;
  #place: Place;
  #resting: NodeJS.Timeout | undefined;
  /** whether more is known than is remembered */
  #isOutdated = false;

  constructor(parts: MemoryParts) {
    this.#parts = parts;
    this.#place = parts.place;
  }

  /** At once: what it has does not wait for a second change. */
  take(part: Partial<Pick<Place, 'epoch' | 'rotations'>>): void {
    this.#place = { ...this.#place, ...part };
    this.#remember();
  }

  /** At once, and then no more often than once in a while. */
  rememberSoon(): void {
    if (this.#resting !== undefined) {
      this.#isOutdated = true;
      return;
    }
    this.#remember();
    this.#resting = setTimeout(() => {
      this.#resting = undefined;
      if (this.#isOutdated) this.rememberSoon();
    }, REMEMBER_MS);
  }

  /** Writes what is not written yet, and no more after that. */
  end(): void {
    clearTimeout(this.#resting);
    if (this.#isOutdated) this.#remember();
  }

  /** That it has no place any more. @throws CulvertError `cluster_file` */
  forget(): void {
    const { stateDir, identity } = this.#parts;
    writeSeat(stateDir, { identity });
  }

  #remember(): void {
    const { stateDir, identity, peers, failed } = this.#parts;
    this.#isOutdated = false;
    try {
      writeSeat(stateDir, { identity, place: { ...this.#place, peers: peers() } });
    } catch (error) {
      failed(error);
    }
  }
}
