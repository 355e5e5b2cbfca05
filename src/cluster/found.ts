import { randomUUID } from 'node:crypto';
import { parsePrefix } from '../addr/prefix.ts';
import { CulvertError } from '../errors.ts';
import { firstEpoch } from './epoch.ts';
import type { JoinRequest } from './join-request.ts';
import { CLUSTER, EPOCH } from './keys.ts';
import { type ClusterRecord, readCluster, writeCluster, writeEpoch } from './records.ts';
import type { Registry } from './registry.ts';
import { assertPlan } from './subnets.ts';

const DEFAULT_RANGE = parsePrefix('10.64.0.0/10');
const DEFAULT_UNIT = 20;

type Founding = Pick<JoinRequest, 'range' | 'unit' | 'mtu'> & { readonly clusterId?: string | undefined };

/**
 * What the cluster's hosts have in common, which the first of them writes.
 *
 * @throws CulvertError `cluster_absent`; `registry_*`; InputError `invalid_range`, `invalid_subnet_size`
 */
export async function foundCluster(registry: Registry, request: Founding): Promise<ClusterRecord> {
  const { range = DEFAULT_RANGE, unit = DEFAULT_UNIT, clusterId, mtu } = request;
  const entry = await registry.get(CLUSTER);
  if (entry !== undefined) return readCluster(entry.value);
  if (clusterId !== undefined) {
    const message = `Cannot join cluster ${clusterId} in ${registry.name}: there is none; put back what etcd had, or start with a state folder of its own`;
    throw new CulvertError('cluster_absent', message);
  }
  assertPlan({ range, unit });
  const cluster = { id: randomUUID(), range, unit };
  const writes = [
    { key: CLUSTER, value: writeCluster(cluster) },
    { key: EPOCH, value: writeEpoch(firstEpoch(mtu)) },
  ];
  const written = await registry.commit([{ key: CLUSTER, revision: 0 }], writes);
  // others were first
  return written === undefined ? foundCluster(registry, { ...request, clusterId: undefined }) : cluster;
}
