import { formatIpPrefix, type IpPrefix, ipPrefixAround, ipPrefixesOverlap } from '../addr/ip-prefix.ts';
import { LEAST_MTU } from '../addr/ipv4.ts';
import { formatPrefix, type Prefix } from '../addr/prefix.ts';
import { CulvertError, InputError } from '../errors.ts';
import { NETLINK_ROUTE } from '../linux/netlink/constants.ts';
import { NetlinkSocket } from '../linux/netlink/socket.ts';
import { type NamespaceState, observeNamespace } from '../linux/observe/namespace.ts';
import { type KernelObject, type Link, ROOT } from '../plan/state.ts';
import { type Host, rootCable } from '../sandbox/host/objects.ts';
import { assertNameFree } from './claim.ts';
import { type Config, layoutOf } from './config/config.ts';

/**
 * What the daemon must know of the root namespace; changes nothing.
 *
 * @throws InputError `no_uplink`, `range_in_use`; CulvertError `name_in_use`, `mtu_too_small`
 */
export function readHost(config: Config): Host {
  const { root, uplink, mtu } = readUplink(config);
  assertNameFree(config, root);
  const ours = rootCable(config.name).name;
  for (const [name, range] of Object.entries(config.ranges)) {
    assertFree(root, `ranges.${name}`, range, (link) => link.name === ours);
  }
  return {
    instance: config.name,
    layout: layoutOf(config, mtu),
    inbound: config.inbound,
    ...(uplink === undefined ? {} : { uplink }),
  };
}

export type Uplink = { readonly root: NamespaceState; readonly uplink: string | undefined; readonly mtu: number };

/** The link to the outside, and how large a sandbox's packets may be. */
export function readUplink(config: Config): Uplink {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const root = observeNamespace(socket, ROOT);
  const uplink = config.uplink ?? defaultUplink(root);
  return { root, uplink, mtu: config.mtu ?? mtuOf(config, root, uplink) };
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

/**
 * A range that the host reaches elsewhere would be cut off from it, so it is refused.
 *
 * @throws InputError `range_in_use`
 */
export function assertFree(
  { objects }: NamespaceState,
  field: string,
  range: Prefix,
  isOurs: (link: Link) => boolean,
): void {
  for (const object of objects) {
    const taken = reached(object);
    if (taken === undefined || !('link' in object) || isOurs(object.link)) continue;
    if (!ipPrefixesOverlap(taken, range)) continue;
    const found = `the host reaches ${formatIpPrefix(taken)} over ${object.link.name}`;
    throw new InputError('range_in_use', `Cannot use ${formatPrefix(range)} as ${field}: ${found}`, { field });
  }
}

/** What an object makes the host reach: a route its destination, an address the network around it. */
function reached(object: KernelObject): IpPrefix | undefined {
  if (object.kind === 'address') return ipPrefixAround(object.address, object.length);
  return object.kind === 'route' && object.destination.length > 0 ? object.destination : undefined;
}
