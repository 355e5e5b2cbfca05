import type { Agent, IncomingMessage } from 'node:http';
import { CulvertError } from '../../errors.ts';
import { failureFrom } from '../failure.ts';
import type { FailureResource } from '../schema.ts';

/** Not imported: that reads every export of the module, which loads a WebSocket client and takes 100 ms of a processor. */
const http = process.getBuiltinModule('node:http');

/** Where a daemon is. */
export type Target =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number; readonly token: string };

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

type Call = {
  readonly method: Method;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** Without one a response may take as long as it takes. */
  readonly timeoutMs?: number;
};

/** Connections at a time; calls past them wait for one. */
const MAX_SOCKETS = 64;

/** bytes: 32,767 sandboxes take about 16 MB */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

/** HTTP to one daemon, over connections that are kept and used again. */
export class HttpTransport implements Disposable {
  readonly #target: Target;
  readonly #agent: Agent = new http.Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });

  constructor(target: Target) {
    this.#target = target;
  }

  /**
   * Sends JSON and returns the JSON that comes back.
   *
   * @throws CulvertError `daemon_unreachable`, `daemon_timeout`, `response_unreadable`, or what the daemon says: an
   *   InputError where it is the caller's
   */
  async json(call: Call): Promise<unknown> {
    const text = await this.text(call);
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw unreadable(call, text, cause);
    }
  }

  /** The text that comes back; the same errors as {@link json}. */
  async text(call: Call): Promise<string> {
    return this.#text(await this.open(call), call);
  }

  /** The response to a call that succeeded, its body still to be read; the same errors as {@link json}. */
  async open(call: Call): Promise<IncomingMessage> {
    const response = await this.#attempt(call);
    const { statusCode = 0 } = response;
    if (statusCode >= 200 && statusCode < 300) return response;
    const text = await this.#text(response, call);
    let failure: FailureResource;
    try {
      failure = JSON.parse(text) as FailureResource;
      if (typeof failure.error.code !== 'string') throw new TypeError('no code');
    } catch (cause) {
      throw unreadable(call, text, cause);
    }
    throw failureFrom(statusCode, failure);
  }

  /** Closes connections that are idle; the ones in use end with their calls. */
  close(): void {
    this.#agent.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #attempt(call: Call): Promise<IncomingMessage> {
    for (;;) {
      try {
        return await this.#send(call);
      } catch (error) {
        // A kept connection that the daemon closed just now: nothing was read of a call that changes nothing.
        if (!(error instanceof StaleConnection) || call.method !== 'GET') throw this.#unreachable(call, error);
      }
    }
  }

  async #send({ method, path, headers, body, signal, timeoutMs }: Call): Promise<IncomingMessage> {
    const { promise, resolve, reject } = withResolvers<IncomingMessage>();
    const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const { target, authorization } = this.#where();
    const outgoing = http.request({
      ...target,
      agent: this.#agent,
      method,
      path,
      headers: {
        ...authorization,
        ...(content && { 'content-type': 'application/json', 'content-length': content.length }),
        ...headers,
      },
      ...(signal && { signal }),
      ...(timeoutMs !== undefined && { timeout: timeoutMs }),
    });
    outgoing.once('response', resolve);
    outgoing.once('timeout', () => outgoing.destroy(timedOut(timeoutMs)));
    outgoing.once('error', (error: NodeJS.ErrnoException) => {
      const isStale = outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      reject(isStale ? new StaleConnection(error.message, { cause: error }) : error);
    });
    outgoing.end(content);
    return promise;
  }

  #where(): { target: object; authorization: Readonly<Record<string, string>> } {
    if ('socketPath' in this.#target) return { target: { socketPath: this.#target.socketPath }, authorization: {} };
    const { host, port, token } = this.#target;
    return { target: { host, port }, authorization: { authorization: `Bearer ${token}` } };
  }

  async #text(response: IncomingMessage, call: Call): Promise<string> {
    const chunks: Buffer[] = [];
    let length = 0;
    const { promise, resolve, reject } = withResolvers<void>();
    // Events, not the stream's iterator, which takes as long as all the rest of a call.
    response.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_RESPONSE_BYTES) response.destroy();
      else chunks.push(chunk);
    });
    response.once('end', resolve);
    response.once('error', reject);
    response.once('close', () => resolve());
    try {
      await promise;
    } catch (error) {
      throw this.#unreachable(call, error);
    }
    const text = Buffer.concat(chunks).toString();
    if (length > MAX_RESPONSE_BYTES) throw unreadable(call, text, undefined);
    return text;
  }

  #unreachable({ method, path }: Call, cause: unknown): CulvertError {
    if (cause instanceof CulvertError) return cause;
    const where = 'socketPath' in this.#target ? this.#target.socketPath : `${this.#target.host}:${this.#target.port}`;
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = WHY[code ?? ''] ?? message;
    return new CulvertError('daemon_unreachable', `Cannot ask the daemon at ${where} (${method} ${path}): ${why}`, {
      cause,
    });
  }
}

class StaleConnection extends Error {
  readonly code = 'ECONNRESET';
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no socket; is the daemon running (culvert up)?',
  ECONNREFUSED: 'nobody answers; is the daemon running (culvert up)?',
  EACCES: 'permission denied; the socket belongs to the user that runs the daemon',
  ECONNRESET: 'it closed the connection; it may be stopping, or have as many connections as it allows',
  ABORT_ERR: 'the call was given up',
};

function timedOut(timeoutMs: number | undefined): CulvertError {
  return new CulvertError('daemon_timeout', `Cannot wait longer for the daemon: it said nothing for ${timeoutMs} ms`);
}

function unreadable({ method, path }: Call, text: string, cause: unknown): CulvertError {
  const message = `Cannot read the daemon’s response to ${method} ${path}: ${JSON.stringify(text.slice(0, 80))}`;
  return new CulvertError('response_unreadable', message, { cause });
}

type Resolvers<T> = {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
};

/** `Promise.withResolvers`, which Node has from 22 on: who uses the client may have an older one. */
function withResolvers<T>(): Resolvers<T> {
  let resolvers: Omit<Resolvers<T>, 'promise'> | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    resolvers = { resolve, reject };
  });
  return { promise, ...(resolvers as unknown as Omit<Resolvers<T>, 'promise'>) };
}
