import { formatIp, type Ip, isIpv6 } from '../../addr/ip.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { findLinkNamed } from '../../linux/observe/links.ts';
import { findWay, type Way } from '../../linux/observe/way.ts';
import { ROOT } from '../../plan/state.ts';

/** How encrypted packets go to an endpoint. */
export type WayOut = Way & {
  /** bytes that it takes: what a route says or the kernel was told by a router, else the link's */
  readonly room: number;
};

/** Those of the endpoints that there is a way to. @param fwMark of encrypted packets; 0 for none */
export function waysOut(socket: NetlinkSocket, endpoints: readonly Ip[], fwMark: number): ReadonlyMap<Ip, WayOut> {
  const ways = new Map<Ip, WayOut>();
  for (const address of endpoints) {
    const way = findWay(socket, address, fwMark === 0 ? undefined : fwMark);
    const room = way?.mtu ?? (way && findLinkNamed(socket, ROOT, way.link.name)?.end.mtu);
    if (way !== undefined && room !== undefined) ways.set(address, { ...way, room });
  }
  return ways;
}

/** The widest of them; undefined where there is none. @returns bytes */
export function widest(ways: ReadonlyMap<Ip, WayOut>): number | undefined {
  return ways.size === 0 ? undefined : Math.max(...[...ways.values()].map(({ room }) => room));
}

/** In the words of ip-route(8), without the size: that differs without packets going elsewhere. */
export function wayText({ link, via, source }: WayOut): string {
  const words = [
    ...(via === undefined ? [] : [`via ${formatIp(via)}`]),
    `dev ${link.name}`,
    ...(source === undefined ? [] : [`src ${formatIp(source)}`]),
  ];
  return words.join(' ');
}

/** Tells which endpoints are reached otherwise than when it was looked last; one that has no way any more is waited for. */
export class WayWatch {
  readonly #last = new Map<Ip, string>();

  constructor(endpoints: readonly Ip[], ways: ReadonlyMap<Ip, WayOut>) {
    this.look(endpoints, ways);
  }

  /** @param ways to those of the endpoints that have one */
  look(endpoints: readonly Ip[], ways: ReadonlyMap<Ip, WayOut>): Ip[] {
    const changed: Ip[] = [];
    for (const [address, way] of ways) {
      // a link that went and came back under its name has another index
      const text = `${wayText(way)} ${way.link.index}`;
      const former = this.#last.get(address);
      this.#last.set(address, text);
      if (former !== undefined && former !== text) changed.push(address);
    }
    for (const address of this.#last.keys()) {
      if (!endpoints.includes(address)) this.#last.delete(address);
      else if (!ways.has(address)) this.#last.set(address, GONE);
    }
    return changed;
  }
}

const GONE = '';

/** bytes that WireGuard takes of a packet at the most: over IPv6, as wg-quick(8) has it whatever the endpoint is */
const OVERHEAD = 80;
/** bytes: below it a link has no IPv6, RFC 8200, 5; and IPv4 need not be carried in pieces */
const LEAST_IPV6 = 1280;
const LEAST_IPV4 = 576;

/**
 * What a tunnel's packets may have where the way out has that much room. What is larger than the way then is sent in
 * pieces: that is worse than a smaller size, and better than none.
 *
 * @returns bytes
 */
export function sizeIn(room: number, own: readonly { readonly address: Ip }[]): number {
  return atLeast(room - OVERHEAD, own);
}

/** @param mtu bytes that would do @param own the tunnel's addresses: with one of IPv6 it takes packets of 1280 bytes */
export function atLeast(mtu: number, own: readonly { readonly address: Ip }[]): number {
  return Math.max(mtu, own.some(({ address }) => isIpv6(address)) ? LEAST_IPV6 : LEAST_IPV4);
}
