import { instanceNumber } from '../plan/instance.ts';
import type { Link } from '../plan/state.ts';
import type { Way } from './way.ts';

/*
 * The links between hosts, by their names and indexes, and the numbers that go with them. All of them live in the router
 * namespace, below the indexes of sandboxes' cables; where a part of one stands in the root namespace, `instance` tells
 * daemons apart. `wa-`, `wb-` and `wc-` are born there.
 */

/** WireGuard, one device for each of two sets of keys. */
export function tunnelLink(instance: string, way: Exclude<Way, 'clear'>): Link {
  return way === 'even' ? { name: `wa-${instance}`, index: 9_997 } : { name: `wb-${instance}`, index: 9_994 };
}

/** VXLAN: to any host, in clear. */
export function clearLink(instance: string): Link {
  return { name: `wc-${instance}`, index: 9_996 };
}

/** The router's end of the cable to the root namespace by which goes what leaves unwrapped, to hosts on the same link. */
export function directLink(instance: string): Link {
  return { name: `wd-${instance}`, index: 9_995 };
}

/** Above those of the cable that all else goes by. */
const FIRST_DIRECT = 2_000_000;
const DIRECT_NUMBERS = 1_000_000;

/** The root's end of it. */
export function directCable(instance: string): Link {
  return { name: `wd-${instance}`, index: directTable(instance) };
}

/** In the root namespace, the table of the routes for what goes by that cable; the number of its index. */
export function directTable(instance: string): number {
  return FIRST_DIRECT + instanceNumber(instance, DIRECT_NUMBERS);
}

/** In the root namespace, of the rules that lead there; the next one drops what the table has no route for. */
export const DIRECT_PRIORITY = 1_000;

/** UDP port of VXLAN where none is configured; others have theirs on 4789 and 8472. */
export const DEFAULT_CLEAR_PORT = 51_830;
/** UDP port in the router namespace, where hosts ask each other whether packets pass. */
export const PROBE_PORT = 51_840;
/** Of all hosts of all clusters: they are told apart by their addresses. */
export const CLEAR_VNI = 1;
