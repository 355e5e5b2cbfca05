import { formatPrefix, type Prefix } from '../addr/prefix.ts';
import { CulvertError, InputError } from '../errors.ts';
import { type ClusterRecord, type EpochRecord, NAME } from './records.ts';
import type { OwnSession } from './session.ts';

export type JoinRequest = {
  /** of the host, unique in the cluster */
  readonly name: string;
  /** of its state folder, a UUID */
  readonly identity: string;
  readonly session: OwnSession;
  readonly version: string;
  /** what the first host gives the cluster; others say the same, or nothing */
  readonly range?: Prefix;
  readonly unit?: number;
  /** prefix length of the subnet to claim; the cluster's unit where absent */
  readonly length?: number;
  /** the cluster that it was in before */
  readonly clusterId?: string;
  /** the name that it had there: what it has under that one goes with it */
  readonly formerName?: string;
  /** The subnet that sandboxes have addresses of: it is given this one, or none. */
  readonly bound?: Prefix;
  /** bytes of the IP packets of sandboxes that it can take from other hosts; the first host's are the cluster's */
  readonly mtu: number;
  readonly published: unknown;
};

/** @throws InputError `invalid_host_name` */
export function assertName(name: string): void {
  if (NAME.test(name)) return;
  const message = `Cannot join as ${JSON.stringify(name.slice(0, 64))}: want 1 to 63 of a-z, 0-9 and -, no - first or last`;
  throw new InputError('invalid_host_name', message, { field: 'host' });
}

/**
 * Whether it is the cluster that the host means.
 *
 * @param where name of the registry
 * @throws CulvertError `cluster_foreign`, `cluster_mismatch`
 */
export function assertMeant(cluster: ClusterRecord, { range, unit, clusterId }: JoinRequest, where: string): void {
  const { id, ...has } = cluster;
  if (clusterId !== undefined && clusterId !== id) {
    const message = `Cannot join the cluster in ${where}: there is cluster ${id}, and this host belongs to cluster ${clusterId}; give it the registry of that cluster, or a state folder of its own`;
    throw new CulvertError('cluster_foreign', message);
  }
  const differs =
    (range !== undefined && formatPrefix(range) !== formatPrefix(has.range)) ||
    (unit !== undefined && unit !== has.unit);
  if (!differs) return;
  const said = `${formatPrefix(range ?? has.range)} in subnets of /${unit ?? has.unit}`;
  const message = `Cannot join cluster ${id} in ${where}: it has ${formatPrefix(has.range)} in subnets of /${has.unit}, and the config says ${said}`;
  throw new CulvertError('cluster_mismatch', message);
}

/**
 * Those who have agreed on packets that it cannot take would lose them; one that is among them is told so otherwise.
 *
 * @throws CulvertError `mtu_too_small`
 */
export function assertFits({ phase, mtu, formerMtu }: EpochRecord, { mtu: own, name }: JoinRequest): void {
  const agreed = phase === 'done' ? mtu : Math.max(mtu, formerMtu);
  if (own >= agreed) return;
  const change = phase === 'done' ? '' : ', until the change that is under way is done';
  const message = `Cannot join as ${name}: the cluster’s hosts have agreed on packets of ${agreed} bytes${change}, and this one takes ${own} (its uplink’s MTU less the room for a tunnel, or mtu of the config); raise that by ${agreed - own}, or lower the cluster’s on one of its hosts: culvert mesh mtu ${own}`;
  throw new CulvertError('mtu_too_small', message);
}
