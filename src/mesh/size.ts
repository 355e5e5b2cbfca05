import type { Phase } from './course.ts';

/** How large packets of sandboxes may be, all over the cluster, and were before the change that is under way. */
export type Size = {
  readonly phase: Phase;
  /** bytes, of the IP packet */
  readonly mtu: number;
  readonly formerMtu: number;
};

/**
 * What a host's links take. As with ways, what is to come is accepted before anybody sends it, and what was is until
 * nobody does:
 *
 *             accept               send                  drop
 *     raised:  links are raised ──▶ routes are raised
 *     lowered: routes are lowered ───────────────────────▶ links are lowered
 *
 * @returns bytes
 */
export function linksMtu({ phase, mtu, formerMtu }: Size): number {
  return phase === 'accept' || phase === 'send' ? Math.max(mtu, formerMtu) : mtu;
}

/**
 * What a host's links take when it starts: what they took, where they are to be raised to more than its uplink takes, which
 * nobody sends yet.
 *
 * @param room bytes that its uplink takes
 */
export function linksMtuAtStart(size: Size, room: number): number {
  const wanted = linksMtu(size);
  const isRaised = size.phase === 'accept' && size.mtu > size.formerMtu;
  return isRaised && wanted > room ? size.formerMtu : wanted;
}

/** What a host sends to other hosts at the most. @returns bytes */
export function routesMtu({ phase, mtu, formerMtu }: Size): number {
  return phase === 'accept' ? Math.min(mtu, formerMtu) : mtu;
}

/** The phase that is behind a host with these; undefined for not even the first. */
export function sizeReached({ mtu }: Size, links: number, routes: number): Phase | undefined {
  if (links < mtu) return undefined;
  if (routes > mtu) return 'accept';
  return links > mtu ? 'send' : 'drop';
}
