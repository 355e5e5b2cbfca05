import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const HEADERS_END = '\r\n\r\n';

type Answer = { readonly status: number; readonly body: string };

/**
 * A connection to an API that is kept, with requests written whole and answers read to their last byte and no further:
 * what it takes is the server's time and not a client's.
 */
export class Connection implements Disposable {
  readonly #socket: Socket;
  #answered: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  #text = '';

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#receive(chunk.toString('latin1')));
    socket.once('close', () => this.#answered?.reject(new Error('The connection was closed')));
    socket.once('error', (error) => this.#answered?.reject(error));
  }

  static async open(socketPath: string): Promise<Connection> {
    const socket = connect(socketPath);
    await once(socket, 'connect');
    return new Connection(socket);
  }

  /** Not any more where the server has closed it, as it does with one that is idle for a minute. */
  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  /** One request at a time. Returns the body of the answer. @throws Error where that is not 200 */
  async ask(request: Uint8Array): Promise<string> {
    if (!this.isOpen) throw new Error('The connection was closed');
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#answered = { resolve, reject };
    this.#socket.write(request);
    const { status, body } = await promise;
    if (status !== 200) throw new Error(`The answer is ${status}: ${body}`);
    return body;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #receive(text: string): void {
    this.#text += text;
    const headers = this.#text.indexOf(HEADERS_END);
    if (headers < 0) return;
    const [, length] = /\r\ncontent-length: (\d+)\r\n/i.exec(this.#text) ?? [];
    if (length === undefined) throw new Error(`An answer without a length: ${this.#text.slice(0, headers)}`);
    const at = headers + HEADERS_END.length;
    if (this.#text.length < at + Number(length)) return;
    const status = Number(this.#text.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length));
    const body = this.#text.slice(at);
    this.#text = '';
    this.#answered?.resolve({ status, body });
  }
}

/** A request as it goes over the wire. */
export function jsonRequest(method: 'POST' | 'DELETE', path: string, content: unknown): Uint8Array {
  const body = JSON.stringify(content);
  const head = [
    `${method} ${path} HTTP/1.1`,
    'host: localhost',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}${HEADERS_END}${body}`);
}

export function getRequest(path: string): Uint8Array {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nhost: localhost${HEADERS_END}`);
}
