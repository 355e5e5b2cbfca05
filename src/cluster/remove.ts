import { CulvertError, InputError } from '../errors.ts';
import { aliveKey, holdKey, hostKey, indexIn, SUBNETS } from './keys.ts';
import { readClaim } from './records.ts';
import type { Entry, Registry } from './registry.ts';

/** How often it begins anew because others wrote what it had read. */
const ATTEMPTS = 5;

/** Of one host, with those of an earlier machine of its name; more stay until somebody claims them. */
const CLAIMS_MAX = 16;

/**
 * Takes a host out of the cluster that is gone for good: its subnet is free from now on. What of its sandboxes may live
 * on without a way to the others, nobody but the person who says so knows.
 *
 * @returns how many units of the range are free now
 * @throws InputError `host_unknown`; CulvertError `host_alive` where it is there; `cluster_busy`; `registry_*`
 */
export async function removeHost(registry: Registry, name: string): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const removed = await attemptRemoval(registry, name);
    if (removed !== undefined) return removed;
  }
  const message = `Cannot remove host ${name}: others wrote what was read, ${ATTEMPTS} times in a row`;
  throw new CulvertError('cluster_busy', message);
}

async function attemptRemoval(registry: Registry, name: string): Promise<number | undefined> {
  const [host, alive] = await Promise.all([registry.get(hostKey(name)), registry.get(aliveKey(name))]);
  if (host === undefined) {
    throw new InputError('host_unknown', `Cannot remove host ${name}: the cluster has none of that name`, {
      field: 'name',
    });
  }
  if (alive !== undefined) {
    const message = `Cannot remove host ${name}: it is there; run culvert down --purge on it`;
    throw new CulvertError('host_alive', message);
  }
  // by the claims that are its own, since what its record says may be anything
  const { entries } = await registry.list(SUBNETS);
  const claims = entries.filter((entry) => claimantOf(entry) === name).slice(0, CLAIMS_MAX);
  const keys = [hostKey(name), ...claims.flatMap(({ key }) => [key, holdKey(indexIn(key))])];
  const removed = await registry.commit(
    [...[host, ...claims].map(({ key, revision }) => ({ key, revision })), { key: aliveKey(name), revision: 0 }],
    keys.map((key) => ({ key, value: undefined })),
  );
  return removed === undefined ? undefined : claims.length;
}

/** undefined for a claim that is none: it must not keep a host from being removed */
function claimantOf({ key, value }: Entry): string | undefined {
  try {
    return readClaim(key, value).host;
  } catch {
    return undefined;
  }
}
