import { connect, type Socket } from 'node:net';

/** A connection that sends exactly what it is told to, and keeps all that comes back. */
export class RawConnection implements Disposable {
  readonly #socket: Socket;
  #received = '';
  readonly #ended: Promise<void>;

  constructor(where: string | number) {
    this.#socket = typeof where === 'string' ? connect(where) : connect(where, '127.0.0.1');
    this.#socket.on('data', (chunk) => {
      this.#received += chunk.toString('latin1');
    });
    // A peer that resets the connection has ended it too.
    this.#socket.on('error', () => {});
    this.#ended = new Promise((resolve) => {
      this.#socket.once('close', () => resolve());
    });
  }

  send(text: string | Uint8Array): this {
    this.#socket.write(text);
    return this;
  }

  /** Stops taking what the peer sends. */
  stall(): this {
    this.#socket.pause();
    return this;
  }

  /** Takes what has come meanwhile, and everything until the peer ends the connection. */
  async toTheEnd(): Promise<string> {
    this.#socket.resume();
    await this.#ended;
    return this.#received;
  }

  /** Resolves when what has come matches. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#received)) {
      await new Promise<void>((resolve, reject) => {
        this.#socket.once('data', () => resolve());
        void this.#ended.then(() => reject(new Error(`Ended after ${JSON.stringify(this.#received)}`)));
      });
    }
    return this.#received;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
