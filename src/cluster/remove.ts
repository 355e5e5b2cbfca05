import { CulvertError, InputError } from '../errors.ts';
import { aliveKey, CLUSTER, holdKey, hostKey, subnetKey } from './keys.ts';
import { type HostRecord, readCluster, readHost } from './records.ts';
import type { Registry } from './registry.ts';
import { firstUnit, unitsOf } from './subnets.ts';

/** How often it begins anew because others wrote what it had read. */
const ATTEMPTS = 5;

/**
 * Takes a host out of the cluster that is gone for good: its subnet is free from now on. What of its sandboxes may live
 * on without a way to the others, nobody but the person who says so knows.
 *
 * @throws InputError `host_unknown`; CulvertError `host_alive` where it is there; `cluster_busy`; `registry_*`
 */
export async function removeHost(registry: Registry, name: string): Promise<HostRecord> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const removed = await attemptRemoval(registry, name);
    if (removed !== undefined) return removed;
  }
  const message = `Cannot remove host ${name}: others wrote what was read, ${ATTEMPTS} times in a row`;
  throw new CulvertError('cluster_busy', message);
}

async function attemptRemoval(registry: Registry, name: string): Promise<HostRecord | undefined> {
  const [cluster, host, alive] = await Promise.all(
    [CLUSTER, hostKey(name), aliveKey(name)].map((key) => registry.get(key)),
  );
  if (cluster === undefined || host === undefined) {
    throw new InputError('host_unknown', `Cannot remove host ${name}: the cluster has none of that name`, {
      field: 'name',
    });
  }
  if (alive !== undefined) {
    const message = `Cannot remove host ${name}: it is there; run culvert down --purge on it`;
    throw new CulvertError('host_alive', message);
  }
  const record = readHost(host.key, host.value);
  const plan = readCluster(cluster.value);
  const first = firstUnit(plan, record.subnet);
  const units = Array.from({ length: unitsOf(plan, record.subnet.length) }, (_, index) => first + index);
  const claims = await Promise.all(units.map((unit) => registry.get(subnetKey(unit))));
  const unchanged = [host, ...claims.filter((entry) => entry !== undefined)];
  const keys = [hostKey(name), ...units.flatMap((unit) => [subnetKey(unit), holdKey(unit)])];
  const removed = await registry.commit(
    [...unchanged.map(({ key, revision }) => ({ key, revision })), { key: aliveKey(name), revision: 0 }],
    keys.map((key) => ({ key, value: undefined })),
  );
  return removed === undefined ? undefined : record;
}
