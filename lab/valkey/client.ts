import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const END = Buffer.from('\r\n');

type Question = {
  readonly resolve: (value: Buffer | undefined) => void;
  readonly reject: (error: Error) => void;
};

/** One connection to a Valkey, in its protocol (RESP2); it is never opened again. */
export class ValkeyClient implements Disposable {
  readonly #socket: Socket;
  readonly #asked: Question[] = [];
  #unread: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (piece: Buffer) => this.#read(piece));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  /** @throws Error where nobody listens there */
  static async connect(address: string, port: number): Promise<ValkeyClient> {
    const socket = connect(port, address);
    socket.setNoDelay(true);
    await once(socket, 'connect');
    return new ValkeyClient(socket);
  }

  /** @returns what it answers as text; undefined for nothing @throws Error with what it says where it refuses */
  ask(...words: readonly (string | Buffer)[]): Promise<Buffer | undefined> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const parts = words.flatMap((word) => [Buffer.from(`$${Buffer.byteLength(word)}\r\n`), Buffer.from(word), END]);
    const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>();
    this.#asked.push({ resolve, reject });
    this.#socket.write(Buffer.concat([Buffer.from(`*${words.length}\r\n`), ...parts]));
    return promise;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #read(piece: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, piece]);
    for (let question = this.#asked[0]; question !== undefined; question = this.#asked[0]) {
      if (!this.#answer(question)) return;
      this.#asked.shift();
    }
  }

  /** Whether the whole answer is there. */
  #answer({ resolve, reject }: Question): boolean {
    const end = this.#unread.indexOf(END);
    if (end < 0) return false;
    const line = this.#unread.toString('latin1', 1, end);
    const kind = String.fromCharCode(this.#unread[0] ?? 0);
    const from = end + END.length;
    const length = kind === '$' ? Number(line) : -1;
    if (length >= 0 && this.#unread.length < from + length + END.length) return false;
    const value = length < 0 ? undefined : Buffer.from(this.#unread.subarray(from, from + length));
    this.#unread = this.#unread.subarray(length < 0 ? from : from + length + END.length);
    if (kind === '-') reject(new Error(line));
    else resolve(kind === '$' ? value : Buffer.from(line));
    return true;
  }

  #fail(cause: Error): void {
    this.#failure ??= new Error(`Cannot ask the Valkey: ${cause.message}`, { cause });
    for (const { reject } of this.#asked.splice(0)) reject(this.#failure);
  }
}
