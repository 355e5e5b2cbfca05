/**
 * How packets go to another host: in clear, or by one of two WireGuard devices, of which a second is there while keys are
 * changed.
 */
export const WAYS = ['clear', 'even', 'odd'] as const;

export type Way = (typeof WAYS)[number];

/** A link that leads to other hosts: in clear there are two, of which what is for one host takes one. */
export type Leg = Exclude<Way, 'clear'> | 'wrapped' | 'direct';

const CLEAR_LEGS = ['wrapped', 'direct'] as const;

/** By which packets may go that way. */
export function legsOf(way: Way): readonly Leg[] {
  return way === 'clear' ? CLEAR_LEGS : [way];
}

/** The device that has the keys of a rotation; each rotation takes the one that the last has not. */
export function tunnelWay(rotation: number): Exclude<Way, 'clear'> {
  return rotation % 2 === 0 ? 'even' : 'odd';
}
