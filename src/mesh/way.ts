/**
 * How packets go to another host: in clear, or by one of two WireGuard devices, of which a second is there while keys are
 * changed.
 */
export const WAYS = ['clear', 'even', 'odd'] as const;

export type Way = (typeof WAYS)[number];

/** The device that has the keys of a rotation; each rotation takes the one that the last has not. */
export function tunnelWay(rotation: number): Exclude<Way, 'clear'> {
  return rotation % 2 === 0 ? 'even' : 'odd';
}
