import { MSG_DONTWAIT, SOCK_CLOEXEC } from '../../netlink/constants.ts';
import { SOCK_DGRAM } from '../../notify-socket.ts';
import { AF_INET } from '../../route/constants.ts';
import { socketAddress } from '../../socket-address.ts';
import { bind, close, connect, recvNow, send, socket } from '../../syscall.ts';
import type { Side } from './hosts.ts';

const PORT = 7000;

/** Datagrams from one router to the other and back, each of which is asked after: a lost one is seen, a late one not taken for it. */
export class Datagrams implements Disposable {
  readonly #left: number;
  readonly #right: number;
  #sent = 0;
  #returned = 0;

  constructor(left: Side, right: Side) {
    this.#left = between(left, right);
    this.#right = between(right, left);
  }

  send(count: number): void {
    for (let i = 0; i < count; i++) send(this.#left, Uint8Array.of(this.#sent++ & 255));
  }

  /** Sends back what has arrived, and counts what has come back. How many are on their way then, or lost. */
  turn(): number {
    const buffer = new Uint8Array(16);
    for (;;) {
      const length = recvNow(this.#right, buffer, MSG_DONTWAIT);
      if (length === undefined) break;
      send(this.#right, buffer.subarray(0, length));
    }
    while (recvNow(this.#left, buffer, MSG_DONTWAIT) !== undefined) this.#returned++;
    return this.#sent - this.#returned;
  }

  [Symbol.dispose](): void {
    close(this.#left);
    close(this.#right);
  }
}

/** A socket in the first one's router that sends to the other's. */
function between(from: Side, to: Side): number {
  const fd = from.router.within(() => socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  bind(fd, socketAddress(from.inner, PORT));
  connect(fd, socketAddress(to.inner, PORT), 'name who is sent to');
  return fd;
}
