/*
 * Every key of the registry, below its namespace:
 *
 *     cluster             what all hosts have in common, written once by the first
 *     subnets/00000017    which host has the 18th unit of the range
 *     holds/00000017      there as long as its sandboxes may live, under a lease of the hold
 *     hosts/NAME          a host: who it is, what it has, what it tells the others
 *     alive/NAME          there as long as it is, under a short lease: which daemon that is
 *     mesh/epoch          how all send to each other, and how far a change of that has come
 *     mesh/conductor      which host leads the change, under its short lease
 *     epochs/NAME         how far a host has come with it, under its short lease
 *     members/GROUP/NAME/ID    a sandbox of the host that is in the group, under the lease of the hold
 */

export const CLUSTER = 'cluster';
export const SUBNETS = 'subnets/';
export const HOLDS = 'holds/';
export const HOSTS = 'hosts/';
export const ALIVE = 'alive/';
export const MESH = 'mesh/';
export const EPOCH = `${MESH}epoch`;
export const CONDUCTOR = `${MESH}conductor`;
export const PROGRESS = 'epochs/';
const MEMBERS = 'members/';

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

export function progressKey(name: string): string {
  return `${PROGRESS}${name}`;
}

/** All members of a group. */
export function groupKeys(group: string): string {
  return `${MEMBERS}${group}/`;
}

export function memberKey({ group, host, id }: MemberName): string {
  return `${groupKeys(group)}${host}/${id}`;
}

export type MemberName = { readonly group: string; readonly host: string; readonly id: string };

/** The host and the id in a key of {@link memberKey}; undefined of any other key. */
export function memberIn(key: string): Omit<MemberName, 'group'> | undefined {
  const [folder, , host = '', id = '', ...more] = key.split('/');
  return `${folder}/` === MEMBERS && host !== '' && id !== '' && more.length === 0 ? { host, id } : undefined;
}

/** The index in a key of {@link subnetKey} or {@link holdKey}. */
export function indexIn(key: string): number {
  return Number(key.slice(key.indexOf('/') + 1));
}

function numbered(index: number): string {
  return String(index).padStart(DIGITS, '0');
}
