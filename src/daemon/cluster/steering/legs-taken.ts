import type { SteeredCourse } from '../../../mesh/mesh.ts';
import type { PeerPaths } from '../../../mesh/path/peer-paths.ts';
import type { MeshPeer } from '../../../mesh/peers.ts';
import type { Leg } from '../../../mesh/way.ts';

/** By which what is for a host goes. */
export function legTaken({ isOnLink }: Pick<MeshPeer, 'isOnLink'>, { sends, wraps }: SteeredCourse): Leg {
  if (sends !== 'clear') return sends;
  return isOnLink && wraps !== true ? 'direct' : 'wrapped';
}

/**
 * By which what is for a host is to go in clear: as it is to a neighbour. Two hosts may not agree that they are neighbours,
 * and a network may drop what has a sandbox's address: where nothing comes back for a while, and wrapped it does, it is
 * wrapped, until it comes back as it is.
 */
export function clearLeg({ isOnLink }: MeshPeer, { wraps }: SteeredCourse, paths: PeerPaths, nowMs: number): Leg {
  if (!isOnLink) return 'wrapped';
  if (paths.isProved('direct', nowMs)) return 'direct';
  if (paths.isSilent('direct', nowMs) && paths.isProved('wrapped', nowMs)) return 'wrapped';
  return wraps === true ? 'wrapped' : 'direct';
}

/** Those that are to be asked by. */
export function clearLegs({ isOnLink }: MeshPeer, taken: Leg, paths: PeerPaths, nowMs: number): Leg[] {
  if (!isOnLink) return ['wrapped'];
  return taken === 'wrapped' || paths.isSilent('direct', nowMs) ? ['direct', 'wrapped'] : ['direct'];
}
