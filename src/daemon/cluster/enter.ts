import { createHash, randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { isIpv6 } from '../../addr/ip.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { formatPrefix, type Prefix } from '../../addr/prefix.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { currentEpoch } from '../../cluster/epoch.ts';
import { foundCluster } from '../../cluster/found.ts';
import type { JoinRequest } from '../../cluster/join-request.ts';
import { openRegistry } from '../../cluster/open.ts';
import { OwnRegistry } from '../../cluster/own-registry.ts';
import type { EpochRecord } from '../../cluster/records.ts';
import { isAway, type Registry } from '../../cluster/registry.ts';
import { CulvertError, InputError } from '../../errors.ts';
import { countSandboxes } from '../../ipam/peek.ts';
import { FolderLock } from '../../linux/folder.ts';
import { isOnLink } from '../../mesh/clear/on-link.ts';
import { isRootCable } from '../../sandbox/host/objects.ts';
import type { Config } from '../config/config.ts';
import { readDraining } from '../draining.ts';
import { assertFree, readUplink, type Uplink } from '../read-host.ts';
import { leasesIn, makeFolder } from '../state-folder.ts';
import { Cluster } from './cluster.ts';
import { KeyRing } from './key-ring.ts';
import { newSeat, type Place, readSeat, type Seat } from './seat.ts';
import { Whereabouts } from './whereabouts.ts';

export type ClusterConfig = NonNullable<Config['cluster']>;

/**
 * Joins the cluster of the config, or comes back to the place that the state folder remembers.
 *
 * @param report takes note of what could not be told to the cluster in the end
 * @throws InputError `range_in_use`, `no_endpoint`, `registry_*`; CulvertError `folder_in_use`; `sandboxes_live` where
 *   sandboxes have addresses of no cluster, and of whatever else keeps it from joining
 */
export async function enterCluster(
  config: Config,
  wanted: ClusterConfig,
  version: string,
  report: (error: unknown) => void,
): Promise<Cluster> {
  const { stateDir } = config;
  if (wanted.registry === undefined) {
    const message = 'Cannot join a cluster: cluster.registry is missing, which says where its hosts agree';
    throw new InputError('invalid_config', message, { field: 'cluster.registry' });
  }
  makeFolder(stateDir);
  using opened = new DisposableStack();
  // as long as another daemon has it, that one is the host
  opened.use(new FolderLock(stateDir));
  const uplink = readUplink(config);
  if (wanted.range !== undefined) assertRangeFree(uplink, wanted.range);
  const seat = readSeat(stateDir) ?? newSeat(stateDir);
  const bound = boundTo(config, seat);
  const address = wanted.endpoint ?? addressOf(uplink);
  const keys = new KeyRing(stateDir, wanted.port);
  const { place } = seat;
  const clock = systemClock();
  const request = {
    name: wanted.name ?? config.name,
    identity: seat.identity,
    session: newSession(config, clock),
    version,
    ...(wanted.range === undefined ? {} : { range: wanted.range }),
    ...(wanted.unit === undefined ? {} : { unit: wanted.unit }),
    ...(wanted.subnetLength === undefined ? {} : { length: wanted.subnetLength }),
    ...(place === undefined ? {} : { clusterId: place.clusterId, formerName: place.name }),
    ...(bound === undefined ? {} : { bound }),
  };
  const registry = new OwnRegistry(openRegistry({ ...files(wanted), url: wanted.registry }, clock));
  let cluster: Cluster | undefined;
  try {
    const isNear = (other: Ipv4): boolean =>
      uplink.uplink !== undefined && isOnLink(other, uplink.root.objects, uplink.uplink);
    const epoch = await epochNow(registry, { ...request, mtu: uplink.mtu }, place);
    const published = {
      address,
      clearPort: wanted.clearPort,
      keys: rotationsAt(epoch, place).map((rotation) => keys.key(rotation)),
      mtu: uplink.mtu,
      isDraining: readDraining(stateDir) !== undefined,
    };
    const whereabouts =
      uplink.uplink === undefined
        ? undefined
        : new Whereabouts({
            uplink: uplink.uplink,
            told: published,
            followsAddress: wanted.endpoint === undefined,
            ...(config.mtu === undefined ? { tunnelRoom: config.tunnelRoom } : {}),
          });
    const parts = { registry, request, published, epoch, holdMs: wanted.holdMs, stateDir, clock, whereabouts };
    cluster = await Cluster.enter({ ...parts, uplink: uplink.uplink, isOnLink: isNear }, seat);
    assertRangeFree(uplink, cluster.place.range);
    keys.forgetBefore(Math.min(...cluster.place.rotations));
    return cluster;
  } catch (error) {
    // why it cannot start is what a person has to know
    if (cluster === undefined) await registry[Symbol.asyncDispose]();
    else await cluster.giveUp().catch(report);
    throw error;
  }
}

/**
 * As the registry has it, where the first host writes it; where that is away, as it was when the host was last here.
 *
 * @throws as `foundCluster` does
 */
async function epochNow(
  registry: Registry,
  founding: Parameters<typeof foundCluster>[1],
  place: Place | undefined,
): Promise<EpochRecord> {
  try {
    await foundCluster(registry, founding);
    return await currentEpoch(registry);
  } catch (error) {
    if (isAway(error) && place !== undefined) return place.epoch;
    throw error;
  }
}

/** Of the keys to have: those of the epoch, and those of before that others may still use. */
function rotationsAt({ rotation }: EpochRecord, place: Place | undefined): number[] {
  const former = (place?.rotations ?? []).filter((one) => one === rotation - 1);
  return [...former, rotation];
}

/** Whoever has the run folder after this daemon is its successor, for as long as the machine is up. */
function newSession({ runDir }: Config, { bootId }: Clock): JoinRequest['session'] {
  const { dev, ino } = statSync(runDir);
  const place = createHash('sha256').update(`${bootId} ${dev} ${ino}`).digest('hex').slice(0, 32);
  return { id: randomUUID(), place };
}

/**
 * Sandboxes have addresses of the subnet: without the cluster nobody would hold it for them.
 *
 * @throws CulvertError `cluster_left`
 */
export function assertNoPlace(config: Config): void {
  const place = readSeat(config.stateDir)?.place;
  const live = place === undefined ? 0 : countLive(config);
  if (place === undefined || live === 0) return;
  const message = `Cannot start outside of a cluster: ${live} sandboxes have addresses of ${formatPrefix(place.subnet)}, as host ${place.name} of cluster ${place.clusterId}; start with cluster.registry, or remove them`;
  throw new CulvertError('cluster_left', message);
}

/** The subnet that sandboxes have addresses of, undefined where there are none. */
function boundTo(config: Config, { place }: Seat): Prefix | undefined {
  const live = countLive(config);
  if (live === 0) return undefined;
  if (place !== undefined) return place.subnet;
  const host = formatPrefix(config.ranges.host);
  const message = `Cannot join a cluster: ${live} sandboxes have addresses of ${host}, which no other host can reach; remove them (culvert down --purge), then join`;
  throw new CulvertError('sandboxes_live', message);
}

function countLive({ stateDir }: Config): number {
  return countSandboxes(leasesIn(stateDir), systemClock());
}

/** Other daemons of this machine may be of the same cluster. */
function assertRangeFree({ root }: Uplink, range: Prefix): void {
  assertFree(root, 'cluster.range', range, isRootCable);
}

function addressOf({ root, uplink }: Uplink): Ipv4 {
  for (const object of root.objects) {
    if (object.kind !== 'address' || object.link.name !== uplink || isIpv6(object.address)) continue;
    return object.address;
  }
  const message = `Cannot tell other hosts where this one is: ${uplink ?? 'the uplink'} has no IPv4 address; set cluster.endpoint`;
  throw new InputError('no_endpoint', message, { field: 'cluster.endpoint' });
}

type Files = { user?: string; passwordFile?: string; caFile?: string; certificateFile?: string; keyFile?: string };

function files({ user, passwordFile, caFile, certificateFile, keyFile }: ClusterConfig): Files {
  return {
    ...(user === undefined ? {} : { user }),
    ...(passwordFile === undefined ? {} : { passwordFile }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(certificateFile === undefined ? {} : { certificateFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
  };
}
