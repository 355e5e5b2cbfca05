import { setTimeout as sleep } from 'node:timers/promises';
import type { Ipv4 } from '../src/addr/ipv4.ts';
import { AF_INET } from '../src/linux/route/constants.ts';
import { socketAddress } from '../src/linux/socket-address.ts';
import { bind, close, connect, recvNow, send, setsockoptBytes, socket } from '../src/linux/syscall.ts';

/** sys/socket.h, asm-generic/socket.h, linux/if.h */
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const MSG_DONTWAIT = 0x40;
const IFNAMSIZ = 16;

const ATTEMPTS = 500;
const PAUSE_MS = 10;

type Place = { readonly address: Ipv4; readonly port: number };

/** A UDP socket of the namespace that the thread is in when it is made, of one link alone where that is said. */
export class DatagramSocket implements Disposable {
  readonly #fd: number;

  constructor({ address, port }: Place, device?: string) {
    this.#fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (device !== undefined) {
      const name = new Uint8Array(IFNAMSIZ);
      new TextEncoder().encodeInto(device, name);
      setsockoptBytes(this.#fd, SOL_SOCKET, SO_BINDTODEVICE, name);
    }
    bind(this.#fd, socketAddress(address, port), 'bind a UDP socket');
  }

  /** From now on it also hears nobody else. */
  send({ address, port }: Place, bytes: Uint8Array): void {
    connect(this.#fd, socketAddress(address, port), 'connect a UDP socket');
    send(this.#fd, bytes);
  }

  /** What has arrived, as text. */
  received(): string[] {
    const buffer = new Uint8Array(65_536);
    const texts: string[] = [];
    for (;;) {
      const length = recvNow(this.#fd, buffer, MSG_DONTWAIT);
      if (length === undefined) return texts;
      texts.push(Buffer.from(buffer.subarray(0, length)).toString());
    }
  }

  /** The same, up to when `last` has: what does not arrive is known by what was sent after it and did. */
  async until(last: string): Promise<string[]> {
    const texts: string[] = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      texts.push(...this.received());
      if (texts.includes(last)) return texts;
      // oxlint-disable-next-line no-await-in-loop -- waits for the network
      await sleep(PAUSE_MS);
    }
    throw new Error(`${last} did not arrive, but ${JSON.stringify(texts)}`);
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}
