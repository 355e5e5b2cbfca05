import { SO_RCVBUF, SO_RCVBUFFORCE } from './arp/constants.ts';
import { SOL_SOCKET } from './netlink/constants.ts';
import { SyscallError, setsockopt } from './syscall.ts';

/** Past net.core.rmem_max only with CAP_NET_ADMIN in the first user namespace; without, as far as that goes. */
export function raiseReceiveBuffer(fd: number, bytes: number): void {
  try {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errnoName === 'EPERM')) throw error;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }
}
