import { setTimeout as pause } from 'node:timers/promises';
import type { MeshOrders } from '../../../mesh/host-mesh.ts';
import type { SteeredCourse } from '../../../mesh/mesh.ts';
import type { HostKey, MeshPeer } from '../../../mesh/peers.ts';
import type { Steered } from '../../engine.ts';
import type { KeyRing } from '../key-ring.ts';
import type { Courses } from './courses.ts';
import type { KnownEpoch } from './known-epoch.ts';
import type { LinksSize } from './links-size.ts';
import type { Rotations } from './rotations.ts';

/** How long after one that starts was found not to be there it is looked again. */
const START_MS = 50;

export type ApplyingParts = {
  readonly peers: () => ReadonlyMap<string, MeshPeer>;
  readonly epoch: KnownEpoch;
  readonly courses: Courses;
  readonly rotations: Rotations;
  readonly links: LinksSize;
  readonly keys: KeyRing;
  readonly steer: (orders: MeshOrders) => Promise<Steered>;
  /** Tells the others which keys it has. */
  readonly publish: (keys: readonly HostKey[]) => Promise<void>;
  /** Hears of a course that the kernel has, before it counts as applied. */
  readonly took: (name: string, course: SteeredCourse) => void;
  /** Hears that links are of another size. */
  readonly resized: () => void;
  /** Hears that others were told of other keys. */
  readonly told: () => void;
  /** Hears that some of what is wanted is so, though maybe not the links' size. */
  readonly stepped: (isSized: boolean) => void;
};

/** Has the kernel do what is wanted: courses, devices for the keys that are used, and links of a size. */
export class Applying {
  readonly #parts: ApplyingParts;
  #isRunning = false;

  constructor(parts: ApplyingParts) {
    this.#parts = parts;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Whether the kernel has the courses that are wanted, and others were told which keys it has. */
  get isSteered(): boolean {
    return this.#parts.courses.wanted.size === 0 && this.#parts.rotations.areTold;
  }

  /** Until all is as is wanted; what comes meanwhile goes together. @throws CulvertError of the engine */
  async run(signal: AbortSignal): Promise<void> {
    const { links, epoch } = this.#parts;
    this.#isRunning = true;
    try {
      while (!signal.aborted && !(this.isSteered && links.isAsWanted(epoch.record))) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        if (!(await this.#step())) {
          // oxlint-disable-next-line no-await-in-loop -- likewise
          await pause(START_MS);
        }
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** @returns false where a device has yet to start, or links are not as they are to be */
  async #step(): Promise<boolean> {
    const { rotations, links, keys, epoch, steer, stepped } = this.#parts;
    const used = rotations.used;
    const areTold = rotations.areTold;
    const courses = [...this.#parts.courses.wanted];
    const mtu = links.wanted(epoch.record);
    // keys that are not there are made
    const published = used.map((rotation) => keys.key(rotation));
    const tunnels = used.map((rotation) => keys.tunnel(rotation));
    const { isSteered, isSized } = await steer({ courses, tunnels, mtu });
    if (!isSteered) return false;
    this.#take(courses);
    if (isSized && links.took(mtu)) this.#parts.resized();
    if (!areTold) await this.#tell(used, published);
    stepped(isSized);
    return isSized;
  }

  #take(applied: readonly (readonly [name: string, course: SteeredCourse])[]): void {
    const { peers, courses, took } = this.#parts;
    for (const [name, course] of applied) {
      // one that has gone meanwhile
      if (!peers().has(name)) continue;
      took(name, course);
      courses.took(name, course);
    }
  }

  async #tell(used: readonly number[], published: readonly HostKey[]): Promise<void> {
    const { rotations, keys, publish, told } = this.#parts;
    rotations.tell(used);
    await publish(published);
    told();
    keys.forgetBefore(Math.min(...used));
  }
}
