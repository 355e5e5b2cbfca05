import { isIpv6 } from '../../addr/ip.ts';
import { IPPROTO_UDP } from '../../linux/inet/constants.ts';
import { MSG_DONTWAIT, SO_MARK, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET } from '../../linux/netlink/constants.ts';
import { AF_INET, AF_INET6 } from '../../linux/route/constants.ts';
import { socketAddress } from '../../linux/socket-address.ts';
import { close, connect, recvNow, SyscallError, setsockopt, socket } from '../../linux/syscall.ts';
import type { Endpoint } from '../../plan/wireguard/device.ts';

/** Messages of WireGuard that came from endpoints, whether the device could read them or not. */
export type Heard = {
  /** that answer the begin of a handshake */
  readonly responses: number;
  /** by which a peer that has much to do asks to be asked once more */
  readonly cookies: number;
  /** by which a peer begins a handshake by itself */
  readonly initiations: number;
};

/** Of endpoints, the first so many. */
const ENDPOINTS_MAX = 16;
/** Of one look. */
const READ_MAX = 1024;
/** bytes: an IP header with options, that of UDP, and the longest of these messages */
const READ_BYTES = 60 + 8 + 148;
const UDP_HEADER = 8;

/** WireGuard, 5.4: by the type and its length, which a device too tells them apart by */
const KINDS = [
  { kind: 'initiations', type: 1, length: 148 },
  { kind: 'responses', type: 2, length: 92 },
  { kind: 'cookies', type: 3, length: 64 },
] as const;

/**
 * Looks at what comes from endpoints beside the device: that counts what it could read, and is silent of the rest. It
 * takes nothing away from it.
 */
export class AnswerWatch implements Disposable {
  readonly #watched: { readonly fd: number; readonly endpoint: Endpoint }[] = [];
  readonly #heard = { responses: 0, cookies: 0, initiations: 0 };

  /** One that there is no way to is not watched. @param fwMark of encrypted packets; 0 for none */
  constructor(endpoints: readonly Endpoint[], fwMark: number) {
    for (const endpoint of endpoints.slice(0, ENDPOINTS_MAX)) {
      const fd = listening(endpoint, fwMark);
      if (fd !== undefined) this.#watched.push({ fd, endpoint });
    }
  }

  /** So far. */
  heard(): Heard {
    const buffer = new Uint8Array(READ_BYTES);
    for (const { fd, endpoint } of this.#watched) {
      for (let count = 0; count < READ_MAX; count++) {
        const length = readNow(fd, buffer);
        if (length === undefined) break;
        const kind = kindOf(buffer.subarray(0, length), endpoint);
        if (kind !== undefined) this.#heard[kind]++;
      }
    }
    return { ...this.#heard };
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#watched.splice(0)) close(fd);
  }
}

/** @param bytes a datagram, with its IP header where that is of IPv4, as raw(7) has it */
export function kindOf(bytes: Uint8Array, { address, port }: Endpoint): keyof Heard | undefined {
  const udp = isIpv6(address) ? 0 : ((bytes[0] ?? 0) & 0xf) * 4;
  if (udp + UDP_HEADER >= bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(udp) !== port) return undefined;
  const length = view.getUint16(udp + 4) - UDP_HEADER;
  return KINDS.find((one) => one.type === bytes[udp + UDP_HEADER] && one.length === length)?.kind;
}

/** Connected, so that it hears this host alone. */
function listening({ address, port, scopeId }: Endpoint, fwMark: number): number | undefined {
  const fd = socket(isIpv6(address) ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
  try {
    if (fwMark !== 0) setsockopt(fd, SOL_SOCKET, SO_MARK, fwMark);
    connect(fd, socketAddress(address, isIpv6(address) ? 0 : port, scopeId), 'hear an endpoint');
    return fd;
  } catch (error) {
    close(fd);
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/** An error that waits before it, of what the network said, is told of once; that is asked for by itself. @returns 0 for one */
function readNow(fd: number, buffer: Uint8Array): number | undefined {
  try {
    return recvNow(fd, buffer, MSG_DONTWAIT);
  } catch (error) {
    if (error instanceof SyscallError) return 0;
    throw error;
  }
}
