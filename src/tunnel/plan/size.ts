import { type Ip, parseIp } from '../../addr/ip.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { findLinkNamed } from '../../linux/observe/links.ts';
import { findWay } from '../../linux/observe/way.ts';
import { ROOT } from '../../plan/state.ts';

/** bytes that WireGuard takes of a packet at the most: over IPv6, as wg-quick(8) has it whatever the endpoint is */
const OVERHEAD = 80;
/** bytes, where no way is known */
const ETHERNET = 1500;

/** Addresses by which the default routes are found. */
const ANYWHERE: readonly Ip[] = [parseIp('192.0.2.1'), parseIp('2001:db8::1')];

/**
 * The size of a tunnel's packets for which nobody has said another: what the widest way to an endpoint takes, and where
 * there is none the default route, less what encryption adds.
 *
 * @param fwMark of encrypted packets
 * @returns bytes
 */
export function tunnelMtu(socket: NetlinkSocket, endpoints: readonly Ip[], fwMark: number): number {
  const widest = (addresses: readonly Ip[]): number =>
    Math.max(0, ...addresses.map((address) => wayMtu(socket, address, fwMark) ?? 0));
  return (widest(endpoints) || widest(ANYWHERE) || ETHERNET) - OVERHEAD;
}

function wayMtu(socket: NetlinkSocket, address: Ip, fwMark: number): number | undefined {
  const way = findWay(socket, address, fwMark === 0 ? undefined : fwMark);
  if (way === undefined) return undefined;
  return way.mtu ?? findLinkNamed(socket, ROOT, way.link.name)?.end.mtu;
}
