import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import type { Prefix } from '../addr/prefix.ts';
import { systemClock } from '../clock.ts';
import { parseSlot } from '../ipam/lease.ts';
import { availableWireguard } from '../linux/wireguard/available.ts';
import type { MeshOptions } from '../mesh/host-mesh.ts';
import { readPresharedKey } from '../mesh/keys.ts';
import { claimRunFolder } from './claim.ts';
import type { Cluster } from './cluster/cluster.ts';
import { ClusteredEngine } from './cluster/clustered-engine.ts';
import { assertNoPlace, type ClusterConfig, enterCluster } from './cluster/enter.ts';
import { KeyRing } from './cluster/key-ring.ts';
import { type Config, withHostRange } from './config/config.ts';
import type { Engine } from './engine.ts';
import { Directory } from './groups/directory.ts';
import { readHost } from './read-host.ts';
import { loadKernelThread, ThreadEngine } from './thread-engine.ts';
import { startThreadPool } from './thread-pool.ts';
import { ViaEngine } from './via/via-engine.ts';

/** An engine, and when and why it has ended. */
export type StartedEngine = Engine & { readonly ended: ThreadEngine['ended'] };

/**
 * Starts the engine on this host, as a part of its cluster where the config says so.
 *
 * @param version of the program, for the status
 * @param thread for who has begun to load it before
 * @param report takes note of what could not be told to the cluster in the end
 * @throws InputError where the config does not fit the host; CulvertError `folder_in_use`, `name_in_use`, or of whatever
 *   kept the engine from starting
 */
export async function startEngine(
  config: Config,
  version: string,
  thread: Worker = loadKernelThread(),
  report: (error: unknown) => void = () => undefined,
): Promise<StartedEngine> {
  await startThreadPool();
  const held = claimRunFolder(config);
  try {
    if (config.cluster === undefined) {
      assertNoPlace(config);
      const engine = await startThread(config, { version, thread, held });
      const directory = new Directory();
      engine.watchMembers((members) => directory.takeOwn(members));
      engine.names.begin(directory);
      return await withTunnels(engine, config, report);
    }
    return await startInCluster(config, config.cluster, { version, thread, held, report });
  } catch (error) {
    held[Symbol.dispose]();
    throw error;
  }
}

/** @param range of the cluster, where there is one */
async function withTunnels(
  engine: StartedEngine,
  { runDir, stateDir, tunnels, ranges }: Config,
  report: (error: unknown) => void,
  range?: Prefix,
): Promise<StartedEngine> {
  const all = [...Object.values(ranges), ...(range === undefined ? [] : [range])];
  const whole = new ViaEngine(engine, { runDir, stateDir, tunnels, ranges: all, report });
  await whole.start();
  return Object.assign(whole, { ended: engine.ended });
}

type StartParts = { readonly version: string; readonly thread: Worker; readonly held: Disposable };

async function startInCluster(
  config: Config,
  wanted: ClusterConfig,
  { report, ...parts }: StartParts & { readonly report: (error: unknown) => void },
): Promise<StartedEngine> {
  // who could not encrypt is not to join: others would send to it in vain
  const backend = availableWireguard();
  if (wanted.presharedKeyFile !== undefined) readPresharedKey(wanted.presharedKeyFile);
  const cluster = await enterCluster(config, wanted, parts.version, report);
  try {
    const { place } = cluster;
    const keys = new KeyRing(config.stateDir, wanted.port);
    const mesh = {
      name: place.name,
      subnet: place.subnet,
      range: place.range,
      unit: place.unit,
      tunnels: place.rotations.map((rotation) => keys.tunnel(rotation)),
      ...(wanted.presharedKeyFile === undefined ? {} : { presharedKeyFile: wanted.presharedKeyFile }),
      clearPort: wanted.clearPort,
      ...(cluster.uplink === undefined ? {} : { uplink: cluster.uplink }),
      backend,
      folder: join(config.runDir, 'wireguard'),
      known: [...cluster.peers.values()],
    } as const;
    const inCluster = inClusterOf(config, cluster);
    const engine = await startThread(inCluster, parts, mesh);
    const directory = new Directory();
    const clustered = new ClusteredEngine(engine, {
      cluster,
      directory,
      keys,
      rotateKeysEveryMs: wanted.rotateKeysEveryMs,
      clock: systemClock(),
      report,
    });
    // what its own have in common it knows by now
    engine.names.begin(directory);
    return await withTunnels(Object.assign(clustered, { ended: engine.ended }), inCluster, report, place.range);
  } catch (error) {
    await cluster.giveUp().catch(report);
    throw error;
  }
}

/** What all hosts have in common is not for one to choose. */
function inClusterOf(config: Config, { place, linksMtu }: Cluster): Config {
  return { ...withHostRange(config, place.subnet), mtu: linksMtu };
}

async function startThread(
  config: Config,
  { version, thread, held }: StartParts,
  mesh?: MeshOptions,
): Promise<ThreadEngine> {
  const options = {
    host: readHost(config),
    version,
    stateDir: config.stateDir,
    runDir: config.runDir,
    slots: { first: parseSlot(1), last: parseSlot(config.limits.sandboxes) },
    poolSizes: config.pool,
    quarantineFloor_ms: config.quarantine.floorMs,
    maxFlows: config.limits.flows,
    ...(mesh === undefined ? {} : { mesh }),
  };
  const engine = await ThreadEngine.start(thread, options, held);
  engine.tunnels.begin({ runFolder: config.connect.runDir, stateFolder: config.connect.stateDir });
  return engine;
}
