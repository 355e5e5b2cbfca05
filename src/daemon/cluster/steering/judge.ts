import { type Epoch, nextCourse, waysInUse } from '../../../mesh/course.ts';
import type { SteeredCourse } from '../../../mesh/mesh.ts';
import type { PeerPaths } from '../../../mesh/path/peer-paths.ts';
import type { MeshPeer } from '../../../mesh/peers.ts';
import type { Leg, Way } from '../../../mesh/way.ts';
import { clearLeg, clearLegs } from './legs-taken.ts';

/** What is known of one host. Sizes are in bytes. */
export type Known = {
  readonly peer: MeshPeer;
  readonly paths: PeerPaths;
  readonly epoch: Epoch;
  /** whether both have what the way takes */
  readonly hasWay: (way: Way) => boolean;
  /** of the largest packet that is sent to other hosts */
  readonly whole: number;
  /** from which on a route needs no size of its own */
  readonly unbounded: number;
  readonly nowMs: number;
};

export type Judgement = {
  readonly course: SteeredCourse;
  /** that the host is to be asked by */
  readonly legs: ReadonlySet<Leg>;
};

/** What is to become of one host, by all that is known, after a course that is kept or is to be. */
export function judge(before: SteeredCourse, known: Known): Judgement {
  const { peer, paths, epoch, hasWay, nowMs } = known;
  const inClear = clearLeg(peer, before, paths, nowMs);
  const legOf = (way: Way): Leg => (way === 'clear' ? inClear : way);
  const next = nextCourse(before, epoch, {
    heard: paths.heard,
    isSettled: paths.unsettledMs(nowMs) === 0,
    isProved: (way) => hasWay(way) && paths.isProved(legOf(way), nowMs),
    isDead: (way) => paths.isDead(legOf(way), nowMs),
  });
  const size = Math.min(paths.pathBy(legOf(next.sends))?.size ?? before.mtu ?? known.whole, known.whole);
  // nobody else takes as much as links that are raised yet
  const mtu = size >= known.unbounded ? {} : { mtu: size };
  const wraps = next.sends === 'clear' && peer.isOnLink && inClear === 'wrapped' ? ({ wraps: true } as const) : {};
  const course = { ...next, ...mtu, ...wraps };
  const ways = [...waysInUse(course, epoch, paths.heard)].filter(hasWay);
  const legs = ways.flatMap((way) => (way === 'clear' ? clearLegs(peer, inClear, paths, nowMs) : way));
  return { course, legs: new Set(legs) };
}
