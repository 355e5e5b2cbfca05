import { isIpv6 } from '../../addr/ip.ts';
import { SOCK_NONBLOCK } from '../../linux/arp/constants.ts';
import { IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, SOCK_DGRAM, SOL_IP } from '../../linux/inet/constants.ts';
import { MSG_DONTWAIT, SO_MARK, SOCK_CLOEXEC, SOL_SOCKET } from '../../linux/netlink/constants.ts';
import { AF_INET } from '../../linux/route/constants.ts';
import { socketAddress } from '../../linux/socket-address.ts';
import { close, recvNow, SyscallError, sendTo, setsockopt, socket } from '../../linux/syscall.ts';
import type { Endpoint } from '../../plan/wireguard/device.ts';

/** bytes of the headers of IPv4 and UDP */
const OUTER = 28;

/**
 * Packets to endpoints that may not be cut on the way, by which the kernel learns from routers how large they may be. The
 * kernel's WireGuard lets IPv4 cut what it sends, so that no router ever complains of that: it arrives in pieces, or,
 * where those are dropped, not at all. (wireguard-go's may not be cut, and IPv6 never is.) An endpoint drops what is none
 * of WireGuard's messages.
 */
export class UncutPackets implements Disposable {
  readonly #fd: number;
  #isClosed = false;

  /** @param fwMark of encrypted packets; 0 for none */
  constructor(fwMark: number) {
    this.#fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    try {
      if (fwMark !== 0) setsockopt(this.#fd, SOL_SOCKET, SO_MARK, fwMark);
      setsockopt(this.#fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    } catch (error) {
      close(this.#fd);
      throw error;
    }
  }

  /** What comes of it is in the route that the kernel looks up next. @param length bytes of the IP packet */
  send({ address, port }: Endpoint, length: number): void {
    if (isIpv6(address)) return;
    // an error that waits is that of the last one
    this.#quietly(() => recvNow(this.#fd, new Uint8Array(1), MSG_DONTWAIT));
    this.#quietly(() => sendTo(this.#fd, new Uint8Array(length - OUTER), socketAddress(address, port)));
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    close(this.#fd);
  }

  /** One that does not leave says nothing: there is no way, or a smaller one, which the look for ways tells. */
  #quietly(body: () => void): void {
    try {
      body();
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}
