import type { Link } from '../plan/state.ts';
import type { Way } from './way.ts';

/**
 * The mesh's links in the router namespace. Those of WireGuard and of VXLAN are born in the root namespace, where the name
 * tells daemons apart.
 */
export function meshLinks(instance: string): Readonly<Record<Way, Link>> {
  return {
    even: { name: `wa-${instance}`, index: 9_997 },
    odd: { name: `wb-${instance}`, index: 9_994 },
    clear: { name: `wc-${instance}`, index: 9_996 },
  };
}
