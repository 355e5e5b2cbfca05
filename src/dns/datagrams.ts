import { createSocket, type Socket } from 'node:dgram';
import { formatIpv4, type Ipv4, parseIpv4 } from '../addr/ipv4.ts';
import type { Desk } from './desk.ts';
import { MAX_UNSENT } from './limits.ts';

/** Answers what comes by UDP. */
export class Datagrams {
  readonly #desk: Desk;
  readonly #socket: Socket = createSocket('udp4');
  #unsent = 0;

  /** @param fd of a bound socket, which is closed with this */
  constructor(fd: number, desk: Desk) {
    this.#desk = desk;
    this.#socket.on('message', (message, { address, port }) => this.#answer(message, parseIpv4(address), port));
    this.#socket.on('error', (error) => desk.failed(error));
    this.#socket.bind({ fd });
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.close(resolve);
    await promise;
  }

  #answer(message: Buffer, asker: Ipv4, port: number): void {
    // to port 0, which only a forged datagram comes from, nothing can be sent; where answers pile up none is made
    if (port === 0 || this.#unsent >= MAX_UNSENT) {
      this.#desk.drop();
      return;
    }
    const answer = this.#desk.answer(message, asker, 'udp');
    if (answer === undefined) return;
    this.#unsent += 1;
    this.#socket.send(answer, port, formatIpv4(asker), (error) => {
      this.#unsent -= 1;
      // its sandbox is being cut off, or does not take it: it asks again
      if (error !== null) this.#desk.drop();
    });
  }
}
