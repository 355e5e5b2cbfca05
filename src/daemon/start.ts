import type { Worker } from 'node:worker_threads';
import { formatPrefix, type Prefix, prefixAround, prefixesOverlap } from '../addr/prefix.ts';
import { CulvertError, InputError } from '../errors.ts';
import { parseSlot } from '../ipam/lease.ts';
import { NETLINK_ROUTE } from '../linux/netlink/constants.ts';
import { NetlinkSocket } from '../linux/netlink/socket.ts';
import { type NamespaceState, observeNamespace } from '../linux/observe/namespace.ts';
import { type KernelObject, ROOT } from '../plan/state.ts';
import { type Host, rootCable } from '../sandbox/host/objects.ts';
import { assertNameFree, claimRunFolder } from './claim.ts';
import { type Config, layoutOf } from './config/config.ts';
import { loadKernelThread, ThreadEngine } from './thread-engine.ts';
import { startThreadPool } from './thread-pool.ts';

/** The least size that every IPv4 link must carry, RFC 791. */
const LEAST_MTU = 576;

/**
 * Starts the engine on this host.
 *
 * @param version of the program, for the status
 * @param thread for who has begun to load it before
 * @throws InputError where the config does not fit the host; CulvertError `folder_in_use`, `name_in_use`, or of whatever
 *   kept the engine from starting
 */
export async function startEngine(
  config: Config,
  version: string,
  thread: Worker = loadKernelThread(),
): Promise<ThreadEngine> {
  await startThreadPool();
  const held = claimRunFolder(config);
  try {
    const host = readHost(config);
    const options = {
      host,
      version,
      stateDir: config.stateDir,
      runDir: config.runDir,
      slots: { first: parseSlot(1), last: parseSlot(config.limits.sandboxes) },
      poolSizes: config.pool,
      quarantineFloor_ms: config.quarantine.floorMs,
      maxFlows: config.limits.flows,
    };
    return await ThreadEngine.start(thread, options, held);
  } catch (error) {
    held[Symbol.dispose]();
    throw error;
  }
}

/** What the daemon must know of the root namespace; changes nothing. */
function readHost(config: Config): Host {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const root = observeNamespace(socket, ROOT);
  assertNameFree(config, root);
  const uplink = config.uplink ?? defaultUplink(root);
  const mtu = config.mtu ?? mtuOf(config, root, uplink);
  const host: Host = {
    instance: config.name,
    layout: layoutOf(config, mtu),
    inbound: config.inbound,
    ...(uplink === undefined ? {} : { uplink }),
  };
  assertRangesFree(config, root, host);
  return host;
}

/** The link of the default route; undefined on a host that has none. */
function defaultUplink({ objects }: NamespaceState): string | undefined {
  const route = objects.find((object) => object.kind === 'route' && object.destination.length === 0);
  return route?.kind === 'route' ? route.link.name : undefined;
}

/** Where the uplink is away for now, what runs keeps the MTU that it has. */
function mtuOf({ name, tunnelRoom }: Config, { links }: NamespaceState, uplink: string | undefined): number {
  const cable = links.find(({ link }) => link.name === rootCable(name).name);
  if (cable !== undefined && !links.some(({ link }) => link.name === uplink)) return cable.mtu;
  if (uplink === undefined) {
    const message = 'Cannot derive the MTU of sandboxes: the host has no default route; set uplink or mtu';
    throw new InputError('no_uplink', message, { field: 'uplink' });
  }
  const found = links.find(({ link }) => link.name === uplink);
  if (found === undefined) {
    throw new InputError('no_uplink', `Cannot use ${uplink} as the uplink: there is no such link`, { field: 'uplink' });
  }
  const mtu = found.mtu - tunnelRoom;
  if (mtu >= LEAST_MTU) return mtu;
  throw new CulvertError(
    'mtu_too_small',
    `Cannot use ${uplink} as the uplink: its MTU of ${found.mtu} less ${tunnelRoom} for a tunnel is below ${LEAST_MTU}`,
  );
}

/** A range that the host reaches elsewhere would be cut off from it, so it is refused. */
function assertRangesFree({ ranges }: Config, { objects }: NamespaceState, host: Host): void {
  const ours = rootCable(host.instance).name;
  for (const object of objects) {
    const taken = reached(object);
    if (taken === undefined || !('link' in object) || object.link.name === ours) continue;
    for (const [name, range] of Object.entries(ranges)) {
      if (!prefixesOverlap(taken, range)) continue;
      const field = `ranges.${name}`;
      const found = `the host reaches ${formatPrefix(taken)} over ${object.link.name}`;
      throw new InputError('range_in_use', `Cannot use ${formatPrefix(range)} as ${field}: ${found}`, { field });
    }
  }
}

/** What an object makes the host reach: a route its destination, an address the network around it. */
function reached(object: KernelObject): Prefix | undefined {
  if (object.kind === 'address') return prefixAround(object.address, object.length);
  return object.kind === 'route' && object.destination.length > 0 ? object.destination : undefined;
}
