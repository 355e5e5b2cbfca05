import { setTimeout as pause } from 'node:timers/promises';
import { isIpv6 } from '../../addr/ip.ts';
import { SOCK_DGRAM } from '../../linux/inet/constants.ts';
import { MSG_DONTWAIT, SO_MARK, SOCK_CLOEXEC, SOL_SOCKET } from '../../linux/netlink/constants.ts';
import { AF_INET, AF_INET6 } from '../../linux/route/constants.ts';
import { socketAddress } from '../../linux/socket-address.ts';
import { close, connect, recvNow, SyscallError, send, setsockopt, socket } from '../../linux/syscall.ts';
import type { Endpoint } from '../../plan/wireguard/device.ts';

/** How long an answer of the network is waited for. */
const WAIT_MS = 500;

/**
 * What the network says of a packet to an endpoint: WireGuard is silent to what it does not know, but where nobody listens
 * the host says so, and where there is no way a router does.
 *
 * @param fwMark that encrypted packets have
 * @returns the name of an errno, such as ECONNREFUSED; undefined where nothing was said
 */
export async function refusalOf(endpoint: Endpoint, fwMark: number): Promise<string | undefined> {
  const { address, port, scopeId } = endpoint;
  const fd = socket(isIpv6(address) ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    if (fwMark !== 0) setsockopt(fd, SOL_SOCKET, SO_MARK, fwMark);
    connect(fd, socketAddress(address, port, scopeId), 'look for a way');
    // one that it drops: no message of WireGuard is that short
    send(fd, Uint8Array.of(0));
    await pause(WAIT_MS);
    recvNow(fd, new Uint8Array(1), MSG_DONTWAIT);
    return undefined;
  } catch (error) {
    if (error instanceof SyscallError) return error.errnoName;
    throw error;
  } finally {
    close(fd);
  }
}
