import { type Ipv4, LEAST_MTU } from '../../addr/ipv4.ts';
import { NETLINK_ROUTE } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { listAddresses } from '../../linux/observe/addresses.ts';
import { linkIndex, readLinkEnd } from '../../linux/route/ifreq.ts';
import type { Published } from '../../mesh/published.ts';
import { ROOT } from '../../plan/state.ts';

/** What the uplink has to do with what other hosts are told: where they reach this one, and with how large packets. */
export type Reach = Pick<Published, 'address' | 'mtu'>;

export type WhereaboutsParts = {
  /** name of the link that other hosts reach this one by */
  readonly uplink: string;
  /** what they were told when the daemon started */
  readonly told: Reach;
  /** whether the endpoint is the uplink's address, and not one that a person has chosen */
  readonly followsAddress: boolean;
  /** bytes that a packet of a sandbox needs beside itself on the uplink; absent where a person has chosen the MTU */
  readonly tunnelRoom?: number;
};

/** Where other hosts reach this one: an uplink may get another address, or another size, while the daemon runs. */
export class Whereabouts {
  readonly #parts: WhereaboutsParts;
  #told: Reach;

  constructor(parts: WhereaboutsParts) {
    this.#parts = parts;
    this.#told = parts.told;
  }

  /**
   * Looks, for the thread that is in the root namespace.
   *
   * @returns what the others are to be told that is other than before; undefined where nothing is
   * @throws SyscallError
   */
  look(): Partial<Reach> | undefined {
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    const index = linkIndex(socket, this.#parts.uplink);
    if (index === undefined) return undefined;
    const now = { ...this.#told, address: this.#address(socket, index), mtu: this.#mtu(socket, index) };
    const { address, mtu } = this.#told;
    const news = {
      ...(now.address === address ? {} : { address: now.address }),
      ...(now.mtu === mtu ? {} : { mtu: now.mtu }),
    };
    this.#told = now;
    return Object.keys(news).length === 0 ? undefined : news;
  }

  /** One that has none for a moment is still told of by the last; and which of several is the first changes. */
  #address(socket: NetlinkSocket, index: number): Ipv4 {
    const { address: told } = this.#told;
    if (!this.#parts.followsAddress) return told;
    const link = { name: this.#parts.uplink, index };
    const addresses = listAddresses(socket, ROOT, new Map([[index, link]]), link).map(({ address }) => address);
    return addresses.includes(told) ? told : (addresses[0] ?? told);
  }

  #mtu(socket: NetlinkSocket, index: number): number {
    const { tunnelRoom } = this.#parts;
    const mtu = readLinkEnd(socket, ROOT, index)?.mtu;
    if (mtu === undefined || tunnelRoom === undefined) return this.#told.mtu;
    return Math.max(LEAST_MTU, mtu - tunnelRoom);
  }
}
