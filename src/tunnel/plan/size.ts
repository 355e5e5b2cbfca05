import { type Ip, parseIp } from '../../addr/ip.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { sizeIn, waysOut, widest } from '../underlay/ways.ts';

/** bytes, where no way is known */
const ETHERNET = 1500;

/** Addresses by which the default routes are found. */
const ANYWHERE: readonly Ip[] = [parseIp('192.0.2.1'), parseIp('2001:db8::1')];

export type Sized = {
  readonly endpoints: readonly Ip[];
  /** of encrypted packets; 0 for none */
  readonly fwMark: number;
  /** the tunnel's own addresses */
  readonly own: readonly { readonly address: Ip }[];
};

/**
 * The size of a tunnel's packets for which nobody has said another: what the widest way to an endpoint takes, and where
 * there is none the default route, less what encryption adds.
 *
 * @returns bytes
 */
export function tunnelMtu(socket: NetlinkSocket, { endpoints, fwMark, own }: Sized): number {
  const room = (addresses: readonly Ip[]): number | undefined => widest(waysOut(socket, addresses, fwMark));
  return sizeIn(room(endpoints) ?? room(ANYWHERE) ?? ETHERNET, own);
}
