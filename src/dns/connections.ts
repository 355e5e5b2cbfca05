import { createServer, type Server, type Socket } from 'node:net';
import { type Ipv4, parseIpv4 } from '../addr/ipv4.ts';
import { Connection } from './connection.ts';
import type { Desk } from './desk.ts';
import { MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ASKER } from './limits.ts';

/** Answers what comes by TCP, RFC 7766. */
export class Connections {
  readonly #desk: Desk;
  readonly #server: Server;
  readonly #open = new Set<Connection>();
  readonly #ofAsker = new Map<Ipv4, number>();

  /** @param fd of a listening socket, which is closed with this */
  constructor(fd: number, desk: Desk) {
    this.#desk = desk;
    // who sends no more may still want to hear
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('drop', () => desk.drop());
    this.#server.on('error', (error) => desk.failed(error));
    this.#server.listen({ fd });
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const connection of this.#open) connection.end();
    await promise;
  }

  #accept(socket: Socket): void {
    // it may be gone already
    if (socket.remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    const asker = parseIpv4(socket.remoteAddress);
    const others = this.#ofAsker.get(asker) ?? 0;
    if (others >= MAX_CONNECTIONS_OF_ASKER) {
      socket.destroy();
      this.#desk.drop();
      return;
    }
    this.#ofAsker.set(asker, others + 1);
    const connection = new Connection(socket, (message) => this.#desk.answer(message, asker, 'tcp'));
    this.#open.add(connection);
    socket.once('close', () => {
      this.#open.delete(connection);
      this.#leave(asker);
    });
  }

  #leave(asker: Ipv4): void {
    const left = (this.#ofAsker.get(asker) ?? 0) - 1;
    if (left > 0) this.#ofAsker.set(asker, left);
    else this.#ofAsker.delete(asker);
  }
}
