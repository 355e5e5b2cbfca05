import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Reports, Tasks, Work } from './protocol.ts';

/** What is sent, over and over: of a length that no buffer on the way has, so that a piece that is missing shows. */
const PATTERN = Buffer.from(Array.from({ length: 65_521 }, (_, index) => (index * 167 + (index >> 8)) & 0xff));
/** bytes, each few ms; both are a pace that a slow machine keeps */
const CHUNK = 8192;
const TICK_MS = 10;
const MAX_QUEUED = 8 * CHUNK;

/** See {@link Tasks}. */
export class Conversation implements Work<'conversation'> {
  readonly #socket: Promise<Socket>;
  readonly #errors: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sentBytes = 0;
  #heardBytes = 0;
  #wrong = 0;

  private constructor(socket: Promise<Socket>) {
    this.#socket = socket;
    void socket.then(
      (joined) => this.#hear(joined),
      (error: unknown) => this.#errors.push(String(error)),
    );
  }

  /** Returns when it is joined with its peer; who waits for that one, when it does. */
  static async start({ to, port }: Tasks['conversation']): Promise<Conversation> {
    if (to !== undefined) {
      const socket = connect(port, to);
      await once(socket, 'connect');
      return new Conversation(Promise.resolve(socket));
    }
    const server = createServer();
    server.listen(port, '0.0.0.0');
    await once(server, 'listening');
    return new Conversation(once(server, 'connection').then(([socket]) => socket as Socket));
  }

  go(): void {
    void this.#socket.then((socket) => {
      clearInterval(this.#timer);
      this.#timer = setInterval(() => this.#send(socket), TICK_MS);
    });
  }

  async rest(): Promise<void> {
    await this.#socket;
    clearInterval(this.#timer);
  }

  report(): Reports['conversation'] {
    return {
      sentBytes: this.#sentBytes,
      heardBytes: this.#heardBytes,
      wrong: this.#wrong,
      errors: this.#errors,
    };
  }

  #send(socket: Socket): void {
    if (socket.writableLength >= MAX_QUEUED) return;
    socket.write(patternAt(this.#sentBytes, CHUNK));
    this.#sentBytes += CHUNK;
  }

  #hear(socket: Socket): void {
    socket.on('data', (piece: Buffer) => {
      if (!piece.equals(patternAt(this.#heardBytes, piece.length))) this.#wrong++;
      this.#heardBytes += piece.length;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => this.#errors.push(String(error.code)));
    socket.on('close', () => this.#errors.push('closed'));
  }
}

function patternAt(position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let filled = 0; filled < length; ) {
    filled += PATTERN.copy(bytes, filled, (position + filled) % PATTERN.length);
  }
  return bytes;
}
