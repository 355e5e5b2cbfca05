import { randomBytes } from 'node:crypto';
import { isIpv6 } from '../../addr/ip.ts';
import type { Kernel } from '../../linux/apply.ts';
import {
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DO,
  IP_TTL,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPV6_DONTFRAG,
  IPV6_MTU_DISCOVER,
  IPV6_PMTUDISC_DO,
  IPV6_UNICAST_HOPS,
  SO_BINDTOIFINDEX,
  SOL_IP,
  SOL_IPV6,
} from '../../linux/inet/constants.ts';
import { MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET } from '../../linux/netlink/constants.ts';
import { AF_INET, AF_INET6 } from '../../linux/route/constants.ts';
import { socketAddress } from '../../linux/socket-address.ts';
import { close, recvNow, SyscallError, sendTo, setsockopt, socket } from '../../linux/syscall.ts';
import type { Family, Link, NamespaceName } from '../../plan/state.ts';
import { type Answer, readAnswer, writeEcho } from './echo.ts';
import type { Whom } from './whom.ts';

const FAMILIES: readonly Family[] = ['inet', 'inet6'];
/** Of one look: what else comes by ICMP is passed over. */
const READ_MAX = 256;
/** bytes of what is read of an answer: its nonce is near its beginning */
const READ_BYTES = 256;
const HOPS = 64;

/** What a network says of a packet, or the host itself: it did not leave, and will not be answered. */
const REFUSED: readonly string[] = [
  'EMSGSIZE',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
  'EPERM',
  'EACCES',
  'ENODEV',
  'EADDRNOTAVAIL',
  'EDESTADDRREQ',
  'ENOKEY',
  'ENOBUFS',
  'EAGAIN',
  'EINVAL',
];

/** Where a tunnel's link is. */
export type Inside = { readonly kernel: Kernel; readonly at: NamespaceName; readonly link: Link };

/** In the namespace of the link, which does not go while it is open. @throws SyscallError such as EPERM */
export function openEcho({ kernel, at, link }: Inside): EchoSocket {
  return kernel.inside(at, () => new EchoSocket(link));
}

/** Sockets that ask by one link, whatever routes say, in packets that are not cut, and hear what comes by it. */
export class EchoSocket implements Disposable {
  readonly #fds = new Map<Family, number>();

  constructor({ index }: Link) {
    try {
      for (const family of FAMILIES) this.#fds.set(family, opened(family, index));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * @param length bytes of the IP packet
   * @returns whether it left
   */
  ask({ address, isNext }: Whom, nonce: bigint, length: number): boolean {
    const family = isIpv6(address) ? 'inet6' : 'inet';
    const fd = this.#fds.get(family);
    if (fd === undefined) return false;
    try {
      const [level, name] = family === 'inet' ? ([SOL_IP, IP_TTL] as const) : ([SOL_IPV6, IPV6_UNICAST_HOPS] as const);
      setsockopt(fd, level, name, isNext ? 1 : HOPS);
      sendTo(fd, writeEcho(family, nonce, length), socketAddress(address, 0));
      return true;
    } catch (error) {
      if (error instanceof SyscallError && REFUSED.includes(error.errnoName)) return false;
      throw error;
    }
  }

  /** What has been answered since. */
  answers(): Answer[] {
    const answers: Answer[] = [];
    const buffer = new Uint8Array(READ_BYTES);
    for (const [family, fd] of this.#fds) {
      for (let count = 0; count < READ_MAX; count++) {
        const length = received(fd, buffer);
        if (length === undefined) break;
        const answer = readAnswer(family, buffer.subarray(0, length));
        if (answer !== undefined) answers.push(answer);
      }
    }
    return answers;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.values()) close(fd);
    this.#fds.clear();
  }
}

export function newNonce(): bigint {
  return randomBytes(8).readBigUInt64BE();
}

function opened(family: Family, index: number): number {
  const isOld = family === 'inet';
  const fd = socket(isOld ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, isOld ? IPPROTO_ICMP : IPPROTO_ICMPV6);
  try {
    setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, index);
    if (isOld) setsockopt(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    else {
      setsockopt(fd, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
      setsockopt(fd, SOL_IPV6, IPV6_DONTFRAG, 1);
    }
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** An error that a socket was told of says nothing that the next look does not. */
function received(fd: number, buffer: Uint8Array): number | undefined {
  try {
    return recvNow(fd, buffer, MSG_DONTWAIT);
  } catch (error) {
    if (error instanceof SyscallError && [...REFUSED, 'ECONNREFUSED'].includes(error.errnoName)) return undefined;
    throw error;
  }
}
