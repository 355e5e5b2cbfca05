import type { ProgressRecord } from '../../cluster/records.ts';
import type { PeerTraffic } from '../../mesh/host-mesh.ts';
import type { MeshPeer } from '../../mesh/peers.ts';
import type { Way } from '../../mesh/way.ts';
import type { MeshPeerView, MeshProgressView, MeshView } from '../engine.ts';
import type { Cluster } from './cluster.ts';
import { type Alive, aliveOf } from './host-view.ts';
import { legTaken } from './steering/legs-taken.ts';
import type { Steering } from './steering/steering.ts';

export type Observed = {
  readonly traffic: readonly PeerTraffic[];
  readonly progress: ReadonlyMap<string, ProgressRecord>;
  readonly alive: Alive;
  /** of a clock that never goes back */
  readonly nowMs: number;
};

/** The mesh as a person looks at it. */
export function meshView(
  cluster: Cluster,
  steering: Steering,
  { traffic, progress, alive, nowMs }: Observed,
): MeshView {
  const byKey = new Map(traffic.map((one) => [one.publicKey, one]));
  const names = [...new Set([...cluster.peers.keys(), cluster.place.name])].toSorted((one, other) =>
    one.localeCompare(other, 'en', { numeric: true }),
  );
  const peers = names.flatMap((name) => cluster.peers.get(name) ?? []);
  return {
    epoch: steering.epoch,
    progress: names.map((name): MeshProgressView => {
      const { number, reached, waitsFor = [] } = progress.get(name) ?? {};
      const told = number === undefined || reached === undefined ? {} : { number, reached };
      return { name, ...aliveOf(name, alive), ...told, waitsFor };
    }),
    peers: peers.map((peer) => peerView(peer, alive, { steering, byKey, nowMs })),
  };
}

type Known = {
  readonly steering: Steering;
  readonly byKey: ReadonlyMap<string, PeerTraffic>;
  readonly nowMs: number;
};

function peerView(peer: MeshPeer, alive: Alive, { steering, byKey, nowMs }: Known): MeshPeerView {
  const { name, keys } = peer;
  const course = steering.courseTo(name);
  const paths = steering.pathsTo(name);
  const leg = course && legTaken(peer, course);
  const path = leg && paths?.pathBy(leg);
  const back = leg === undefined ? 0 : (paths?.backBy(leg) ?? 0);
  const heard = paths?.heard?.way;
  const seen = keys.flatMap(({ publicKey }) => byKey.get(publicKey) ?? []);
  const handshakeMs = Math.max(0, ...seen.map(({ lastHandshakeMs }) => lastHandshakeMs));
  const { size, roundTripMs, answeredMs } = path ?? {};
  return {
    name,
    ...aliveOf(name, alive),
    ...(course === undefined ? {} : { sends: wordOf(course.sends) }),
    ...(course?.sends === 'clear' ? { isWrapped: leg === 'wrapped' } : {}),
    ...(heard === undefined ? {} : { hears: wordOf(heard) }),
    acceptsClear: course?.acceptsClear === true,
    ...(size === undefined ? {} : { pathMtu: size }),
    ...(back === 0 ? {} : { pathMtuBack: back }),
    ...(roundTripMs === undefined ? {} : { roundTripMs }),
    ...(answeredMs === undefined ? {} : { answeredMsAgo: nowMs - answeredMs }),
    ...(handshakeMs === 0 ? {} : { handshakeMsAgo: Math.max(0, Date.now() - handshakeMs) }),
    received: seen.reduce((sum, { received }) => sum + received, 0),
    sent: seen.reduce((sum, { sent }) => sum + sent, 0),
  };
}

function wordOf(way: Way): 'encrypted' | 'clear' {
  return way === 'clear' ? 'clear' : 'encrypted';
}
