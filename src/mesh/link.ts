import type { Link } from '../plan/state.ts';

/** The mesh's link in the router namespace; it is born in the root namespace, where the name tells daemons apart. */
export function meshLink(instance: string): Link {
  return { name: `wa-${instance}`, index: 9_997 };
}
