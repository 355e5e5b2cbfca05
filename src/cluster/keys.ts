/*
 * Every key of the registry, below its namespace:
 *
 *     cluster             what all hosts have in common, written once by the first
 *     subnets/00000017    which host has the 18th unit of the range
 *     holds/00000017      there as long as its sandboxes may live, under a lease of the hold
 *     hosts/NAME          a host: who it is, what it has, what it tells the others
 *     alive/NAME          there as long as it is, under a short lease
 */

export const CLUSTER = 'cluster';
export const SUBNETS = 'subnets/';
export const HOLDS = 'holds/';
export const HOSTS = 'hosts/';
export const ALIVE = 'alive/';

/** Digits enough for a /32 each of the widest range, so that they are in order. */
const DIGITS = 8;

export function subnetKey(index: number): string {
  return `${SUBNETS}${numbered(index)}`;
}

export function holdKey(index: number): string {
  return `${HOLDS}${numbered(index)}`;
}

export function hostKey(name: string): string {
  return `${HOSTS}${name}`;
}

export function aliveKey(name: string): string {
  return `${ALIVE}${name}`;
}

/** The index in a key of {@link subnetKey} or {@link holdKey}. */
export function indexIn(key: string): number {
  return Number(key.slice(key.indexOf('/') + 1));
}

function numbered(index: number): string {
  return String(index).padStart(DIGITS, '0');
}
