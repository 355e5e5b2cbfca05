import { notifyAddress, SOCK_DGRAM } from '../notify-socket.ts';
import { bind, close, recv, SyscallError, socket } from '../syscall.ts';
import { AF_UNIX } from '../unix.ts';

/** sys/socket.h */
const MSG_DONTWAIT = 0x40;

const POLL_MS = 5;

/** A unix socket that takes datagrams, as a service manager has one. */
export class DatagramReceiver implements Disposable {
  readonly #fd = socket(AF_UNIX, SOCK_DGRAM, 0);

  /** @param name a path, or `@` and an abstract name */
  constructor(name: string) {
    bind(this.#fd, notifyAddress(name));
  }

  /** What has arrived, as text, a datagram each. */
  received(): string[] {
    const datagrams: string[] = [];
    const buffer = new Uint8Array(4096);
    for (;;) {
      try {
        const length = recv(this.#fd, buffer, MSG_DONTWAIT);
        datagrams.push(new TextDecoder().decode(buffer.subarray(0, length)));
      } catch (error) {
        if (error instanceof SyscallError && error.errnoName === 'EAGAIN') return datagrams;
        throw error;
      }
    }
  }

  /** Waits until something arrives that `wanted` accepts, and returns all that arrived until then. */
  async until(wanted: (datagram: string) => boolean): Promise<string[]> {
    const datagrams: string[] = [];
    for (;;) {
      datagrams.push(...this.received());
      if (datagrams.some(wanted)) return datagrams;
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS);
      });
    }
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}
