import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll } from 'vitest';
import { NamespaceHandle } from '../../namespace.ts';
import { NETLINK_NETFILTER } from '../../netlink/constants.ts';
import { NetlinkSocket } from '../../netlink/socket.ts';
import { setns, unshare } from '../../syscall.ts';

/** linux/sched.h */
const CLONE_NEWNET = 0x40000000;

/** Runs the tests of a file in a network namespace of their own, which ends with them. */
export function useOwnNamespace(): { readonly netfilter: NetlinkSocket } {
  let home: NamespaceHandle;
  let netfilter: NetlinkSocket;
  beforeAll(() => {
    home = new NamespaceHandle();
    unshare(CLONE_NEWNET);
    netfilter = new NetlinkSocket(NETLINK_NETFILTER);
  });
  afterAll(() => {
    netfilter[Symbol.dispose]();
    setns(home.fd, CLONE_NEWNET);
    home[Symbol.dispose]();
  });
  return {
    get netfilter() {
      return netfilter;
    },
  };
}

/** What nft(8) prints. */
export function nft(...args: string[]): string {
  return execFileSync('nft', args, { encoding: 'utf8', stdio: 'pipe', maxBuffer: 64 * 1024 * 1024 });
}
