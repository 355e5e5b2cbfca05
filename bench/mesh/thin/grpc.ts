import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';

/** A flag and a length before each message */
const PREFIX = 5;

/** bytes that etcd may send before it is told to go on: as the library has it by default */
const WINDOW = 65_535;

/** A connection that speaks gRPC over cleartext HTTP/2 (grpc.io, PROTOCOL-HTTP2), and does no more than that. */
export class GrpcConnection implements Disposable {
  readonly #session: ClientHttp2Session;

  constructor(address: string) {
    this.#session = connect(`http://${address}`, { settings: { initialWindowSize: WINDOW } });
    this.#session.on('error', () => undefined);
  }

  /** One question, one answer. @throws Error with what gRPC says */
  ask(path: string, message: Uint8Array): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    let answer: Buffer | undefined;
    const stream = this.open(
      path,
      (one) => (answer = Buffer.from(one)),
      (error) => {
        if (answer !== undefined) resolve(answer);
        else reject(error);
      },
    );
    stream.end(framed(message));
    return promise;
  }

  /** @param hear is given each message, viewed until it returns @param ended hears of the end, with what gRPC says */
  open(path: string, hear: (message: Buffer) => void, ended: (error: Error) => void): ClientHttp2Stream {
    const stream = this.#session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
    });
    let said = 'the connection was closed';
    const chunks: Buffer[] = [];
    let there = 0;
    /** bytes that have to be there for the next message to be whole */
    let wanted = PREFIX;
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      there += chunk.length;
      if (there < wanted) return;
      let rest = chunks.length === 1 ? chunk : Buffer.concat(chunks);
      for (;;) {
        wanted = rest.length < PREFIX ? PREFIX : PREFIX + rest.readUInt32BE(1);
        if (rest.length < wanted) break;
        hear(rest.subarray(PREFIX, wanted));
        rest = rest.subarray(wanted);
      }
      chunks.splice(0, chunks.length, ...(rest.length === 0 ? [] : [rest]));
      there = rest.length;
    });
    stream.on('trailers', (headers) => (said = `${String(headers['grpc-status'])} ${String(headers['grpc-message'])}`));
    stream.on('response', (headers) => {
      if (headers['grpc-status'] !== undefined)
        said = `${String(headers['grpc-status'])} ${String(headers['grpc-message'])}`;
    });
    stream.on('error', (error) => (said = error.message));
    stream.once('close', () => ended(new Error(`Cannot ask ${path}: ${said}`)));
    return stream;
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}

export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(PREFIX + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX);
  return frame;
}
