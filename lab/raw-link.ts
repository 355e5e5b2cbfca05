import { setTimeout as sleep } from 'node:timers/promises';
import { MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_RAW } from '../src/linux/netlink/constants.ts';
import { bind, close, recv, SyscallError, send, setsockopt, socket } from '../src/linux/syscall.ts';
import { type Frame, readFrame } from './frame.ts';

/** linux/socket.h, linux/if_packet.h, linux/if_ether.h */
const AF_PACKET = 17;
const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;
const ETH_P_ALL = 0x0003;

const ATTEMPTS = 500;
const PAUSE_MS = 10;

/** What a thread can enter. */
type Enterable = { readonly within: <T>(body: () => T) => T };

/** One end of a cable, with no stack behind it: what is sent is the frame, and what arrives is seen. */
export class RawLink implements Disposable {
  readonly #fd: number;
  readonly #buffer = new Uint8Array(65_536);

  constructor(namespace: Enterable, index: number) {
    this.#fd = namespace.within(() => socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, ETH_P_ALL << 8));
    // struct sockaddr_ll
    const address = new Uint8Array(20);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL);
    view.setInt32(4, index, true);
    bind(this.#fd, address);
    setsockopt(this.#fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
  }

  send(frame: Uint8Array): void {
    send(this.#fd, frame);
  }

  /** {@link untilRead} of IPv4 frames. */
  async until(isLast: (frame: Frame) => boolean): Promise<Frame[]> {
    return this.untilRead(readFrame, isLast);
  }

  /**
   * What `read` makes of everything that arrives, up to and with the first of it that `isLast` says it of: what does
   * not arrive is known by what was sent after it and did.
   */
  async untilRead<T>(read: (bytes: Uint8Array) => T | undefined, isLast: (item: T) => boolean): Promise<T[]> {
    const items: T[] = [];
    for (let attempt = 0; attempt < ATTEMPTS; ) {
      const bytes = this.#receive();
      if (bytes === undefined) {
        attempt++;
        // oxlint-disable-next-line no-await-in-loop -- waits for the network
        await sleep(PAUSE_MS);
        continue;
      }
      const item = read(bytes);
      if (item === undefined) continue;
      items.push(item);
      if (isLast(item)) return items;
    }
    throw new Error(`The awaited frame did not arrive, but ${items.length} others: ${JSON.stringify(items)}`);
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }

  #receive(): Uint8Array | undefined {
    try {
      return this.#buffer.subarray(0, recv(this.#fd, this.#buffer, MSG_DONTWAIT));
    } catch (error) {
      if (error instanceof SyscallError && error.errnoName === 'EAGAIN') return undefined;
      throw error;
    }
  }
}
