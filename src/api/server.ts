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
  readonly report: (error: unknown) => void;
  /** Absent where whoever can connect may ask. */
  readonly token?: TokenCheck;
};

/** ms: how long a peer may take to hear why it was refused, and a connection to end when the server closes */
const LINGER_MS = 1000;

const IDLE_CHECK_MS = 10;

const HEADERS_MAX_BYTES = 16_384;

/**
 * A server for the API that holds what a peer can make it hold: connections, headers, bodies, and the time that each
 * of them may take. It is not listening yet.
 */
export function createApiServer({ app, bodyLimit, connections, times, token, report }: Options): Server {
  const handle = getRequestListener(app.fetch, {
    hostname: 'localhost',
    errorHandler: (error) => {
      const failure = new InputError('invalid_http', `Cannot read the request: ${(error as Error).message}`);
      return Response.json(failureBody(failure), { status: statusOf(failure) });
    },
  });
  /** The request of each connection that is not answered yet, and the connections that an answer is on its way to. */
  const current = new WeakMap<Duplex, IncomingMessage>();
  const answering = new WeakSet<Duplex>();

  async function answer(incoming: IncomingMessage & { rawBody?: Buffer }, outgoing: ServerResponse): Promise<void> {
    const { socket } = incoming;
    current.set(socket, incoming);
    outgoing.once('close', () => current.delete(socket) && answering.delete(socket));
    const refusal = await admit(incoming);
    if (incoming.destroyed && !incoming.complete) return;
    answering.add(socket);
    if (refusal === undefined) await handle(incoming, outgoing);
    else refuse(incoming, outgoing, refusal);
  }

  /** Why a request is not let through to the app; its body is read first, and stands where the adapter looks for it. */
  async function admit(incoming: IncomingMessage & { rawBody?: Buffer }): Promise<CulvertError | undefined> {
    if (token !== undefined && !token(incoming.headers.authorization)) {
      const message = 'Cannot answer without the bearer token: want the header Authorization: Bearer TOKEN';
      return new InputError('token_required', message);
    }
    try {
      const body = await readBody(incoming, bodyLimit);
      if (body !== undefined) incoming.rawBody = body;
      return undefined;
    } catch (error) {
      if (error instanceof CulvertError) return error;
      throw error;
    }
  }

  const server = createServer(
    {
      headersTimeout: times.headers,
      requestTimeout: times.request,
      keepAliveTimeout: times.keepAlive,
      connectionsCheckingInterval: Math.min(times.headers, 1000),
      maxHeaderSize: HEADERS_MAX_BYTES,
    },
    (incoming, outgoing) => {
      answer(incoming, outgoing).catch((error: unknown) => {
        report(error);
        outgoing.destroy();
      });
    },
  );
  server.maxConnections = connections;
  server.setTimeout(times.idle);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // A request that is whole is under way: a refusal of what came after it must not be taken for the answer to it.
    const isUnderWay = answering.has(socket) || current.get(socket)?.complete === true;
    if (isUnderWay || !socket.writable) socket.destroy();
    else refuseMalformed(error, socket);
  });
  return server;
}

export async function countConnections(server: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  return promise;
}

/** Stops listening, lets what is under way end, and cuts what does not. */
export async function closeApiServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  // A connection whose last response goes out now is idle only then.
  const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  const cut = setTimeout(() => server.closeAllConnections(), LINGER_MS);
  await promise;
  clearInterval(idle);
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
