import type { PeerPaths } from '../../../mesh/path/peer-paths.ts';
import type { MeshPeer } from '../../../mesh/peers.ts';
import { tunnelWay } from '../../../mesh/way.ts';
import type { Courses } from './courses.ts';
import type { KnownEpoch } from './known-epoch.ts';
import type { Rotations } from './rotations.ts';

export type OldKeysParts = {
  readonly peers: () => ReadonlyMap<string, MeshPeer>;
  readonly epoch: KnownEpoch;
  readonly courses: Courses;
  readonly rotations: Rotations;
  readonly pathsTo: (name: string) => Pick<PeerPaths, 'heard' | 'unsettledMs'> | undefined;
  readonly nowMs: () => number;
};

/** The keys that were used before the current ones, and stay until no other host needs them. */
export class OldKeys {
  readonly #parts: OldKeysParts;

  constructor(parts: OldKeysParts) {
    this.#parts = parts;
  }

  /** Names of the hosts that they are kept for. */
  get users(): string[] {
    const { peers, rotations } = this.#parts;
    if (rotations.isOne) return [];
    return [...peers().values()].filter((peer) => this.#isNeeded(peer)).map(({ name }) => name);
  }

  /** Lets go of them where nobody uses them any more. */
  drop(): void {
    const { epoch, rotations } = this.#parts;
    const { rotation, phase } = epoch.record;
    if (phase === 'done' && !rotations.isOne && this.users.length === 0) rotations.keepOnly(rotation);
  }

  /** Whether a host may still send, or has to be sent to, with them. */
  #isNeeded({ name, keys }: MeshPeer): boolean {
    const { epoch, courses, pathsTo, nowMs } = this.#parts;
    const { rotation } = epoch.record;
    const old = tunnelWay(rotation + 1);
    const paths = pathsTo(name);
    const heard = paths?.heard;
    const hasNew = keys.some((key) => key.rotation === rotation);
    const isHeard = heard !== undefined && heard.way !== old && paths?.unsettledMs(nowMs()) === 0;
    return courses.applied.get(name)?.sends === old || !hasNew || !isHeard;
  }
}
