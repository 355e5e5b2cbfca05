import { PHASES, type Phase, type ProgressRecord } from '../../../cluster/records.ts';
import { phaseReached } from '../../../mesh/course.ts';
import type { PeerPaths } from '../../../mesh/path/peer-paths.ts';
import type { MeshPeer } from '../../../mesh/peers.ts';
import type { Courses } from './courses.ts';
import type { KnownEpoch } from './known-epoch.ts';
import type { LinksSize } from './links-size.ts';

export type ProgressParts = {
  readonly peers: () => ReadonlyMap<string, MeshPeer>;
  readonly epoch: KnownEpoch;
  readonly courses: Courses;
  readonly links: LinksSize;
  readonly pathsTo: (name: string) => PeerPaths | undefined;
  /** Who is lost is not waited for. */
  readonly isLost: (name: string) => boolean;
};

/** How far this host has come with the change to an epoch. */
export class Progress {
  readonly #parts: ProgressParts;

  constructor(parts: ProgressParts) {
    this.#parts = parts;
  }

  /** And what it waits for; undefined where not even its first phase is behind it. */
  get record(): ProgressRecord | undefined {
    const { peers, epoch, courses, links, isLost } = this.#parts;
    const size = links.reached(epoch.record, courses.largest(links.bytes));
    if (size === undefined) return undefined;
    const others = [...peers().keys()].filter((name) => !isLost(name));
    return progressOf(
      epoch.record.number,
      size,
      others.map((name) => [name, this.#reachedWith(name)]),
    );
  }

  /** Whether a host keeps the epoch in its phase. */
  waitsFor(name: string): boolean {
    return isBefore(this.#reachedWith(name), this.#parts.epoch.record.phase);
  }

  #reachedWith(name: string): Phase {
    const { epoch, courses, pathsTo } = this.#parts;
    const course = courses.applied.get(name);
    return course === undefined ? 'accept' : phaseReached(course, epoch.record, pathsTo(name)?.heard);
  }
}

/** Names that others are told of, of those that are waited for. */
const WAITS_SHOWN = 8;

/**
 * How far a host has come: with all others as far as with the one that is least far.
 *
 * @param number of the epoch
 * @param size how far it has come with the size of its links and routes
 * @param others how far it has come with each of those that are waited for
 */
export function progressOf(
  number: number,
  size: Phase,
  others: readonly (readonly [name: string, reached: Phase])[],
): ProgressRecord {
  const least = others.reduce<Phase>((phase, [, reached]) => (isBefore(reached, phase) ? reached : phase), 'drop');
  const waitsFor = others.filter(([, reached]) => reached === least).map(([name]) => name);
  return {
    number,
    reached: isBefore(size, least) ? size : least,
    waitsFor: least === 'drop' ? [] : waitsFor.slice(0, WAITS_SHOWN),
  };
}

function isBefore(one: Phase, other: Phase): boolean {
  return PHASES.indexOf(one) < PHASES.indexOf(other);
}
