import { NETLINK_ROUTE } from '../netlink/constants.ts';
import { NetlinkSocket } from '../netlink/socket.ts';
import { RTNLGRP_LINK } from '../route/constants.ts';
import { SyscallError } from '../syscall.ts';

/** That links of the calling thread's network namespace have changed. What has is for who hears it to look at. */
export class LinkNews implements Disposable {
  readonly #socket: NetlinkSocket;

  constructor() {
    this.#socket = new NetlinkSocket(NETLINK_ROUTE);
    try {
      this.#socket.hear(RTNLGRP_LINK);
    } catch (error) {
      this.#socket[Symbol.dispose]();
      throw error;
    }
  }

  /** For poll(2). */
  get fd(): number {
    return this.#socket.fd;
  }

  /** Takes note of all that was told until now. */
  take(): void {
    for (;;) {
      try {
        if (this.#socket.receive() === undefined) return;
      } catch (error) {
        // of what was lost nothing more is to be known either
        if (!(error instanceof SyscallError && error.errnoName === 'ENOBUFS')) throw error;
      }
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
