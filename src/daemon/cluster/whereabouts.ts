import type { Ipv4 } from '../../addr/ipv4.ts';
import { NETLINK_ROUTE } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { listAddresses } from '../../linux/observe/attached.ts';
import { linkIndex, readLinkEnd } from '../../linux/route/ifreq.ts';
import type { Published } from '../../mesh/published.ts';
import { ROOT } from '../../plan/state.ts';
import type { Problem } from '../../sandbox/event.ts';

export type WhereaboutsParts = {
  /** name of the link that other hosts reach this one by */
  readonly uplink: string;
  /** what they were told when the daemon started */
  readonly published: Pick<Published, 'address' | 'mtu'>;
  /** whether the endpoint is the uplink's address, and not one that a person has chosen */
  readonly followsAddress: boolean;
  /** bytes that a packet of a sandbox needs beside itself on the uplink; absent where a person has chosen the MTU */
  readonly tunnelRoom?: number;
};

/** Where other hosts reach this one: an uplink may get another address while the daemon runs. */
export class Whereabouts {
  readonly #parts: WhereaboutsParts;
  #address: Ipv4;
  #problem: Problem | undefined;

  constructor(parts: WhereaboutsParts) {
    this.#parts = parts;
    this.#address = parts.published.address;
  }

  /** What a person has to see to, by when it was last looked. */
  get problem(): Problem | undefined {
    return this.#problem;
  }

  /**
   * Looks, for the thread that is in the root namespace.
   *
   * @returns the address that the others are to be told, where that is another than before
   * @throws SyscallError
   */
  look(): Ipv4 | undefined {
    const { uplink, followsAddress } = this.#parts;
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    const index = linkIndex(socket, uplink);
    if (index === undefined) return undefined;
    this.#compareMtu(readLinkEnd(socket, ROOT, index)?.mtu);
    const link = { name: uplink, index };
    const addresses = listAddresses(socket, ROOT, new Map([[index, link]]), link).map(({ address }) => address);
    const [first] = addresses;
    // one that has none for a moment is still told of by the last; and which of several is the first changes
    if (!followsAddress || first === undefined || addresses.includes(this.#address)) return undefined;
    this.#address = first;
    return first;
  }

  #compareMtu(mtu: number | undefined): void {
    const { uplink, published, tunnelRoom } = this.#parts;
    const fits = mtu === undefined || tunnelRoom === undefined || mtu - tunnelRoom >= published.mtu;
    const message = `Packets of up to ${published.mtu} bytes do not fit through ${uplink} any more, whose MTU is ${mtu} now, less ${tunnelRoom} for a tunnel: large ones are lost; restart the daemon, the sandboxes run on`;
    this.#problem = fits ? undefined : { code: 'uplink_mtu', message };
  }
}
