import { Connections } from './connections.ts';
import { Datagrams } from './datagrams.ts';
import { type Counts, Desk } from './desk.ts';
import type { Names } from './names.ts';

/** Descriptors of sockets that are bound to the address and port that names are asked at. */
export type NameSockets = { readonly udp: number; readonly tcp: number };

/** Answers for the names of groups, by UDP and TCP. No call of it waits. */
export class Responder {
  readonly #desk: Desk;
  readonly #datagrams: Datagrams;
  readonly #connections: Connections;

  /** @param sockets are its own from now on */
  constructor(names: Names, sockets: NameSockets) {
    this.#desk = new Desk(names);
    this.#datagrams = new Datagrams(sockets.udp, this.#desk);
    this.#connections = new Connections(sockets.tcp, this.#desk);
  }

  get counts(): Counts {
    return this.#desk.counts;
  }

  /** See {@link Desk.failure}. */
  get failure(): string | undefined {
    return this.#desk.failure;
  }

  /** Resolves when its sockets are gone. */
  async close(): Promise<void> {
    await Promise.all([this.#datagrams.close(), this.#connections.close()]);
  }
}
