import { statSync } from 'node:fs';
import { SO_NETNS_COOKIE, SOCK_DGRAM } from '../../linux/inet/constants.ts';
import { SOL_SOCKET } from '../../linux/netlink/constants.ts';
import { AF_INET } from '../../linux/route/constants.ts';
import { close, getsockopt, SyscallError, socket } from '../../linux/syscall.ts';

/** The network namespace of the calling thread. */
export type NamespaceIdentity = {
  /** of no two that live at once; another may get it that comes after */
  readonly inode: number;
  /** of no other of this boot; a kernel before 5.14 tells none */
  readonly cookie: string | undefined;
};

export function namespaceIdentity(): NamespaceIdentity {
  return { inode: statSync('/proc/thread-self/ns/net').ino, cookie: cookieOf() };
}

function cookieOf(): string | undefined {
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  try {
    const value = new Uint8Array(8);
    getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value);
    return new DataView(value.buffer).getBigUint64(0, true).toString(16);
  } catch (error) {
    if (error instanceof SyscallError && error.errnoName === 'ENOPROTOOPT') return undefined;
    throw error;
  } finally {
    close(fd);
  }
}
