import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { SOCK_NONBLOCK } from '../arp/constants.ts';
import { SOCK_CLOEXEC, SOL_SOCKET } from '../netlink/constants.ts';
import { SOCK_DGRAM } from '../notify-socket.ts';
import { raiseReceiveBuffer } from '../receive-buffer.ts';
import { AF_INET } from '../route/constants.ts';
import { socketAddress } from '../socket-address.ts';
import { bind, close, listen, setsockopt, socket } from '../syscall.ts';
import { SO_REUSEADDR, SOCK_STREAM } from './constants.ts';

/** Datagrams that wait: some 1,300, or 250 where the kernel lets nobody have more than net.core.rmem_max. */
const RECEIVE_BYTES = 1024 * 1024;

/** Connections that wait to be accepted; the kernel has a limit of its own, net.core.somaxconn. */
const BACKLOG = 511;

/** Descriptors; neither waits. */
export type ServiceSockets = { readonly udp: number; readonly tcp: number };

/**
 * Sockets of the calling thread's namespace that are bound to an address and port for both protocols, the one for TCP
 * listening. They stay in that namespace, whichever thread uses them.
 *
 * @throws SyscallError such as EADDRINUSE, EADDRNOTAVAIL, EACCES
 */
export function openService(address: Ipv4, port: number): ServiceSockets {
  const udp = bound(SOCK_DGRAM, address, port);
  try {
    raiseReceiveBuffer(udp, RECEIVE_BYTES);
    const tcp = bound(SOCK_STREAM, address, port);
    listen(tcp, BACKLOG, `listen at ${formatIpv4(address)} port ${port}`);
    return { udp, tcp };
  } catch (error) {
    close(udp);
    throw error;
  }
}

export function closeService({ udp, tcp }: ServiceSockets): void {
  close(udp);
  close(tcp);
}

function bound(type: number, address: Ipv4, port: number): number {
  const fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  try {
    // connections that have just ended would keep the next one from the port, of TCP; of UDP it would let two have it
    if (type === SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    bind(fd, socketAddress(address, port), `bind a socket to ${formatIpv4(address)} port ${port}`);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}
