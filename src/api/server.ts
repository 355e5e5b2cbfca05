import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { CulvertError, InputError } from '../errors.ts';
import type { App } from './app.ts';
import { readBody } from './body.ts';
import { failureBody, statusOf } from './failure.ts';
import type { TokenCheck } from './token.ts';

/** ms, each after which a peer is cut */
export type ServerTimes = {
  /** until the headers of a connection's request are there */
  readonly headers: number;
  /** until its body is there too */
  readonly request: number;
  /** with nothing moving either way, such as a response that is not read */
  readonly idle: number;
  /** between two requests */
  readonly keepAlive: number;
};

export const SERVER_TIMES: ServerTimes = { headers: 10_000, request: 30_000, idle: 120_000, keepAlive: 60_000 };

type Options = {
  readonly app: App;
  /** bytes */
  readonly bodyLimit: number;
  readonly connections: number;
  readonly times: ServerTimes;
  /** Absent where whoever can connect may ask. */
  readonly token?: TokenCheck;
};

/** ms: how long a peer may take to hear why it was refused, and a connection to end when the server closes */
const LINGER_MS = 1000;

const HEADERS_MAX_BYTES = 16_384;

/**
 * A server for the API that holds what a peer can make it hold: connections, headers, bodies, and the time that each
 * of them may take. It is not listening yet.
 */
export function createApiServer({ app, bodyLimit, connections, times, token }: Options): Server {
  const handle = getRequestListener(app.fetch, {
    hostname: 'localhost',
    errorHandler: (error) => {
      const failure = new InputError('invalid_http', `Cannot read the request: ${(error as Error).message}`);
      return Response.json(failureBody(failure), { status: statusOf(failure) });
    },
  });
  const answering = new WeakSet<Duplex>();

  async function answer(incoming: IncomingMessage & { rawBody?: Buffer }, outgoing: ServerResponse): Promise<void> {
    const { socket } = incoming;
    answering.add(socket);
    outgoing.once('close', () => answering.delete(socket));
    if (token !== undefined && !token(incoming.headers.authorization)) {
      const message = 'Cannot answer without the bearer token: want the header Authorization: Bearer TOKEN';
      refuse(incoming, outgoing, new InputError('token_required', message));
      return;
    }
    try {
      const body = await readBody(incoming, bodyLimit);
      if (body === undefined && incoming.destroyed && !incoming.complete) return;
      // Where the adapter finds a body that was read before.
      if (body !== undefined) incoming.rawBody = body;
    } catch (error) {
      if (!(error instanceof CulvertError)) throw error;
      refuse(incoming, outgoing, error);
      return;
    }
    await handle(incoming, outgoing);
  }

  const server = createServer(
    {
      headersTimeout: times.headers,
      requestTimeout: times.request,
      keepAliveTimeout: times.keepAlive,
      connectionsCheckingInterval: Math.min(times.headers, 1000),
      maxHeaderSize: HEADERS_MAX_BYTES,
    },
    (incoming, outgoing) => void answer(incoming, outgoing),
  );
  server.maxConnections = connections;
  server.setTimeout(times.idle);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // What a peer sends past its request must not end up in the middle of the response to it.
    if (answering.has(socket) || !socket.writable) socket.destroy();
    else refuseMalformed(error, socket);
  });
  return server;
}

/** Stops listening, lets what is under way end, and cuts what does not. */
export async function closeApiServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  const cut = setTimeout(() => server.closeAllConnections(), LINGER_MS);
  await promise;
  clearTimeout(cut);
}

/** Answers before the request is read: what is left of it is thrown away for a while, or its sender would not listen. */
function refuse(incoming: IncomingMessage, outgoing: ServerResponse, failure: CulvertError): void {
  const body = JSON.stringify(failureBody(failure));
  outgoing.writeHead(statusOf(failure), {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
    ...(failure.code === 'token_required' ? { 'www-authenticate': 'Bearer' } : {}),
  });
  outgoing.write(body);
  const end = (): void => {
    clearTimeout(timer);
    outgoing.end();
  };
  const timer = setTimeout(end, LINGER_MS);
  if (incoming.complete) end();
  else incoming.once('end', end).once('close', end).resume();
}

function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  const failure = malformed(error);
  const body = JSON.stringify(failureBody(failure));
  const head = [
    `HTTP/1.1 ${statusOf(failure)} ${failure.code}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

function malformed({ code, message }: NodeJS.ErrnoException): InputError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new InputError('request_timeout', 'Cannot wait longer for the request: it was not complete in time');
    case 'HPE_HEADER_OVERFLOW':
      return new InputError('headers_too_big', `Cannot take headers of more than ${HEADERS_MAX_BYTES} bytes`);
    default:
      return new InputError('invalid_http', `Cannot read the request: ${message}`);
  }
}
