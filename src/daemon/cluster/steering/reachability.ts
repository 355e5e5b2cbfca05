import { Liveness } from '../../../cluster/liveness.ts';
import type { Registry } from '../../../cluster/registry.ts';
import type { PeerPaths } from '../../../mesh/path/peer-paths.ts';
import type { MeshPeer } from '../../../mesh/peers.ts';
import type { Problem } from '../../../sandbox/event.ts';
import type { Courses } from './courses.ts';
import type { KnownEpoch } from './known-epoch.ts';
import { legTaken } from './legs-taken.ts';

/** How long another host may keep a phase back before it is asked whether it is alive, and how often it is asked then. */
const ALIVE_MS = 1000;
/** How often that is asked of a host that does not answer. */
const DEAD_ASKED_MS = 10_000;
/** How much less often both for each host that there is: all may ask. */
const ALIVE_PER_HOST_MS = 1;
const DEAD_ASKED_PER_HOST_MS = 40;
/** Hosts that a person is told of, of those that do not answer. */
const SHOWN = 8;

export type ReachabilityParts = {
  readonly registry: Registry;
  readonly peers: () => ReadonlyMap<string, MeshPeer>;
  readonly epoch: KnownEpoch;
  readonly courses: Courses;
  readonly pathsTo: (name: string) => PeerPaths | undefined;
  readonly nowMs: () => number;
};

/** Which hosts are lost, and which are alive and do not answer. */
export class Reachability {
  readonly #parts: ReachabilityParts;
  readonly #liveness: Liveness;

  constructor(parts: ReachabilityParts) {
    this.#parts = parts;
    this.#liveness = new Liveness(parts.registry, parts.nowMs);
  }

  /** Whether it is known that a host is not alive. */
  isLost(name: string): boolean {
    return this.#liveness.isAlive(name) === false;
  }

  /**
   * Asks the registry who is alive, of those that it matters of: who is lost is not waited for, and who is alive and does
   * not answer is somebody's to look after.
   *
   * @param waitsFor whether a host keeps the epoch in its phase
   * @returns whether anything is known otherwise
   */
  ask(waitsFor: (name: string) => boolean): Promise<boolean> {
    const { epoch, nowMs } = this.#parts;
    const peers = this.#parts.peers();
    const isUnderWay = epoch.record.phase !== 'done';
    const isLate = epoch.forMs(nowMs()) >= ALIVE_MS;
    const wanted = new Map<string, number>();
    for (const name of peers.keys()) {
      if (this.#answersNothing(name)) wanted.set(name, DEAD_ASKED_MS + DEAD_ASKED_PER_HOST_MS * peers.size);
      // who is known to be lost is not waited for again with the next phase
      const isAsked = isUnderWay && (isLate || this.isLost(name));
      if (isAsked && waitsFor(name)) wanted.set(name, ALIVE_MS + ALIVE_PER_HOST_MS * peers.size);
    }
    return this.#liveness.ask(wanted);
  }

  problems(): Problem[] {
    const names = [...this.#parts.courses.applied].filter(
      ([name]) => this.#liveness.isAlive(name) === true && this.#answersNothing(name),
    );
    return names.slice(0, SHOWN).map(([name, { sends }]) => ({
      code: 'peer_unreachable',
      message: `Host ${name} is alive and does not answer ${sends === 'clear' ? 'in clear' : 'by WireGuard'}; look at the network between the two`,
    }));
  }

  /** Whether nothing has come back for long of what was asked by the way that it is sent to. */
  #answersNothing(name: string): boolean {
    const { peers, courses, pathsTo, nowMs } = this.#parts;
    const peer = peers().get(name);
    const course = courses.applied.get(name);
    if (peer === undefined || course === undefined) return false;
    return pathsTo(name)?.isDead(legTaken(peer, course), nowMs()) === true;
  }
}
