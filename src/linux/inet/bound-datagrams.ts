import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { SOCK_NONBLOCK } from '../arp/constants.ts';
import { SOCK_CLOEXEC, SOL_SOCKET } from '../netlink/constants.ts';
import { SOCK_DGRAM } from '../notify-socket.ts';
import { AF_INET } from '../route/constants.ts';
import { socketAddress } from '../socket-address.ts';
import { bind, close, setsockopt, socket } from '../syscall.ts';
import { IP_FREEBIND, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, SO_BINDTOIFINDEX, SOL_IP } from './constants.ts';

/**
 * A socket for UDP of the calling thread's namespace, whose packets come and go by one link whatever the routes say. They
 * are sent as they are, never in fragments, whatever routers have said of their size. Neither the link nor the address
 * need be there yet.
 *
 * @param index of the link, for as long as there is one of that index
 * @returns a descriptor that does not wait
 * @throws SyscallError such as EADDRINUSE, EPERM
 */
export function openBoundDatagrams(address: Ipv4, port: number, index: number): number {
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  try {
    setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, index);
    setsockopt(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    setsockopt(fd, SOL_IP, IP_FREEBIND, 1);
    bind(fd, socketAddress(address, port), `bind a socket to ${formatIpv4(address)} port ${port}`);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}
