import type { Socket } from 'node:net';
import { CONNECTION_REST_MS, MAX_QUERY, MAX_UNREAD } from './limits.ts';

/** Of the length that stands before each message, RFC 1035, 4.2.2 */
const PREFIX = 2;

/**
 * One connection, on which queries come one after the other, in pieces of any size. It ends when it has brought none for
 * {@link CONNECTION_REST_MS}, however busy it is with less than one.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #answer: (message: Buffer) => Buffer | undefined;
  readonly #timer: NodeJS.Timeout;
  /** what of a message is there, its length first */
  #held = Buffer.alloc(0);

  /** @param answer gives undefined where the connection is to end */
  constructor(socket: Socket, answer: (message: Buffer) => Buffer | undefined, restMs = CONNECTION_REST_MS) {
    this.#socket = socket;
    this.#answer = answer;
    this.#timer = setTimeout(() => this.end(), restMs);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => socket.end());
    socket.on('drain', () => socket.resume());
    // 'close' follows, and nobody is to hear why
    socket.on('error', () => undefined);
    socket.once('close', () => clearTimeout(this.#timer));
  }

  end(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    let left = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    while (left.length >= PREFIX) {
      const end = PREFIX + left.readUInt16BE(0);
      if (end - PREFIX > MAX_QUERY) {
        this.end();
        return;
      }
      if (left.length < end) break;
      const answer = this.#answer(left.subarray(PREFIX, end));
      if (answer === undefined || !this.#send(answer)) {
        this.end();
        return;
      }
      left = left.subarray(end);
    }
    // a copy: what it was cut from is up to sixteen times as long
    this.#held = Buffer.from(left);
  }

  /** @returns false where the asker leaves too much unread */
  #send(answer: Buffer): boolean {
    const prefix = Buffer.alloc(PREFIX);
    prefix.writeUInt16BE(answer.length);
    this.#timer.refresh();
    if (!this.#socket.write(Buffer.concat([prefix, answer]))) this.#socket.pause();
    return this.#socket.writableLength <= MAX_UNREAD;
  }
}
