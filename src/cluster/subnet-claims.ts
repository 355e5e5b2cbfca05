import { formatPrefix, type Prefix, prefixesOverlap } from '../addr/prefix.ts';
import { CulvertError } from '../errors.ts';
import { HOLDS, holdKey, hostKey, indexIn, SUBNETS, subnetKey } from './keys.ts';
import { type ClusterRecord, readClaim, readHost } from './records.ts';
import type { Condition, Entry, Registry } from './registry.ts';
import { candidates, subnetAt, unitCount, unitsIn, unitsOf } from './subnets.ts';

/** Subnets that are tried by chance before all are listed: enough in a range that is three quarters full. */
const GUESSES = 16;

/** A subnet that a host may have, if the registry still is as it was read. */
export type SubnetClaim = {
  readonly subnet: Prefix;
  readonly conditions: readonly Condition[];
  /** keys to delete: records of hosts that had it */
  readonly gone: readonly string[];
};

/**
 * The subnet that a host has already.
 *
 * @param of the name and the identity that it is claimed for
 * @returns undefined where it is another's, or nobody's
 */
export async function claimAgain(
  registry: Registry,
  cluster: ClusterRecord,
  subnet: Prefix,
  of: { readonly host: string; readonly identity: string },
): Promise<SubnetClaim | undefined> {
  const units = unitsIn(cluster, subnet);
  const claims = await Promise.all(units.map((unit) => registry.get(subnetKey(unit))));
  const own = claims.filter((entry) => entry !== undefined);
  const isOurs = own.every(({ key, value }) => {
    const claim = readClaim(key, value);
    return claim.host === of.host && claim.identity === of.identity;
  });
  if (!isOurs || own.length < units.length) return undefined;
  return { subnet, conditions: own.map(({ key, revision }) => ({ key, revision })), gone: [] };
}

/**
 * Subnets that may be free, by chance: others that join at the same time want others.
 *
 * @param length of the prefix
 * @throws InputError `invalid_subnet_size`
 */
export function* claimsByChance(cluster: ClusterRecord, length: number, identity: string): Generator<SubnetClaim> {
  const units = unitsOf(cluster, length);
  for (const first of candidates(cluster, units, identity, GUESSES)) {
    const subnet = subnetAt(cluster, first, units);
    const conditions = unitsIn(cluster, subnet).map((unit) => ({ key: subnetKey(unit), revision: 0 }));
    yield { subnet, conditions, gone: [] };
  }
}

/**
 * Where chance finds none: the first that nobody has, or that was given up the longest ago.
 *
 * @param length of the prefix
 * @param own name of the host that is to have it
 * @throws CulvertError `cluster_full`; `registry_*`
 */
export async function claimListed(
  registry: Registry,
  cluster: ClusterRecord,
  length: number,
  own: string,
): Promise<SubnetClaim> {
  const units = unitsOf(cluster, length);
  const [subnets, holds] = await Promise.all([registry.list(SUBNETS), registry.list(HOLDS)]);
  const held = new Set(holds.entries.map(({ key }) => indexIn(key)));
  const taken = new Map(subnets.entries.map((entry) => [indexIn(entry.key), entry.revision]));
  const free = Array.from({ length: unitCount(cluster) / units }, (_, index) => subnetAt(cluster, index * units, units))
    .map((subnet) => ({ subnet, claimed: unitsIn(cluster, subnet) }))
    .filter(({ claimed }) => claimed.every((unit) => !held.has(unit)))
    .map((one) => ({ ...one, since: Math.max(...one.claimed.map((unit) => taken.get(unit) ?? 0)) }))
    .toSorted((one, other) => one.since - other.since)[0];
  if (free === undefined) {
    const message = `Cannot join cluster ${cluster.id}: all ${unitCount(cluster)} subnets of ${formatPrefix(cluster.range)} are held, ${taken.size} by hosts; remove hosts that are gone (culvert hosts remove), or wait until the hold of one is over`;
    throw new CulvertError('cluster_full', message);
  }
  const { subnet, claimed } = free;
  const claims = subnets.entries.filter(({ key }) => claimed.includes(indexIn(key)));
  const former = await formerHosts(registry, subnet, claims, own);
  const conditions = [
    ...claimed.flatMap((unit) => [
      { key: subnetKey(unit), revision: taken.get(unit) ?? 0 },
      { key: holdKey(unit), revision: 0 },
    ]),
    ...former.map(({ key, revision }) => ({ key, revision })),
  ];
  return { subnet, conditions, gone: former.map(({ key }) => key) };
}

/** Records of hosts that had the subnet: with them two would have one subnet, to whoever reads. */
async function formerHosts(
  registry: Registry,
  subnet: Prefix,
  claims: readonly Entry[],
  own: string,
): Promise<Entry[]> {
  const names = claims.map(({ key, value }) => readClaim(key, value).host).filter((name) => name !== own);
  const found = await Promise.all([...new Set(names)].map((name) => registry.get(hostKey(name))));
  return found.filter((entry): entry is Entry => {
    // one that has joined again has another subnet
    return entry !== undefined && prefixesOverlap(readHost(entry.key, entry.value).subnet, subnet);
  });
}
