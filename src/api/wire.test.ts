import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MemoryDaemon, type Options } from '../../test/support/memory-daemon.ts';
import { RawConnection } from '../../test/support/raw-http.ts';
import { CulvertClient } from './client/client.ts';

// A request that is late is found within 300 ms of its time, and is to be refused before its silence is cut.
const QUICK = { headers: 300, request: 600, idle: 3_000, keepAlive: 300 };

/** Each test has a daemon of its own, whose peers are cut within seconds. */
async function start(options: Options = {}): Promise<MemoryDaemon> {
  return MemoryDaemon.start({ ...options, timing: { server: QUICK, heartbeatMs: 100 } });
}

/** Resolves when nobody is connected but who asks. */
async function othersGone({ client }: MemoryDaemon): Promise<void> {
  while (!(await client.metrics()).includes('culvert_http_connections 1\n')) await setTimeout(50);
}

type Answer = { readonly status: number; readonly code: string | undefined; readonly field: string | undefined };

async function answer(socketPath: string, request: string | Uint8Array): Promise<Answer> {
  using connection = new RawConnection(socketPath);
  return read(await connection.send(request).toTheEnd());
}

function read(response: string): Answer {
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(response)?.[1]);
  const body = response.slice(response.indexOf('\r\n\r\n') + 4);
  const { error } = JSON.parse(body) as { error?: { code: string; field?: string } };
  return { status, code: error?.code, field: error?.field };
}

function post(path: string, body: string, headers: readonly string[] = ['content-type: application/json']): string {
  const length = `content-length: ${Buffer.byteLength(body)}`;
  return [`POST ${path} HTTP/1.1`, 'host: x', 'connection: close', length, ...headers, '', body].join('\r\n');
}

describe('requests that cannot be taken', () => {
  let daemon: MemoryDaemon;
  beforeAll(async () => {
    daemon = await MemoryDaemon.start();
  });
  afterAll(() => daemon[Symbol.asyncDispose]());

  it.each([
    ['not JSON', post('/v1/sandboxes', '{"topology": '), 400, 'invalid_json', undefined],
    ['an empty body', post('/v1/sandboxes', ''), 400, 'invalid_json', undefined],
    ['another media type', post('/v1/sandboxes', '{}', ['content-type: text/plain']), 415, 'media_type', undefined],
    ['no media type', post('/v1/sandboxes', '{"topology":"netns"}', []), 415, 'media_type', undefined],
    ['no object', post('/v1/sandboxes', '[1]'), 400, 'invalid_request', 'body'],
    ['an unknown field', post('/v1/sandboxes', '{"topology":"netns","colour":1}'), 400, 'invalid_request', 'colour'],
    ['no topology', post('/v1/sandboxes', '{}'), 400, 'invalid_request', 'topology'],
    ['a wrong type', post('/v1/sandboxes', '{"topology":"netns","count":"2"}'), 400, 'invalid_request', 'count'],
    ['too many', post('/v1/sandboxes', '{"topology":"netns","count":1001}'), 400, 'invalid_request', 'count'],
    ['one id for two', post('/v1/sandboxes', '{"topology":"netns","count":2,"id":"a"}'), 400, 'invalid_count', 'count'],
    ['a bad id', post('/v1/sandboxes', '{"topology":"netns","id":"A b"}'), 400, 'invalid_sandbox_id', 'id'],
    [
      'a bad prefix',
      post('/v1/sandboxes', '{"topology":"netns","policy":{"egress":"none","deny":["10.0.0.0/8","10.0.0.1/8"]}}'),
      400,
      'invalid_prefix',
      'policy.deny[1]',
    ],
    [
      'a rate that is too low',
      post('/v1/sandboxes', '{"topology":"netns","rates":{"transmit":{"rate":10}}}'),
      400,
      'invalid_request',
      'rates.transmit.rate',
    ],
    ['a slot that is none', post('/v1/leases/0/release', '{}'), 400, 'invalid_slot', 'slot'],
    ['a slot that is no number', post('/v1/leases/1e1/release', '{}'), 400, 'invalid_slot', 'slot'],
    ['a query', post('/v1/sandboxes?count=3', '{"topology":"netns"}'), 400, 'query_unknown', 'query'],
    ['no such route', post('/v2/sandboxes', '{}'), 404, 'route_unknown', undefined],
    ['no such method', post('/v1/status', '{}'), 404, 'route_unknown', undefined],
    ['no HTTP', 'hello\r\n\r\n', 400, 'invalid_http', undefined],
    ['a bad host', 'GET /healthz HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n', 400, 'invalid_http', undefined],
    ['headers without end', `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}`, 431, 'headers_too_big', undefined],
    [
      'a bad event id',
      'GET /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\nlast-event-id: 7\r\n\r\n',
      400,
      'invalid_event_id',
      'Last-Event-ID',
    ],
  ])('have %s', async (_, request, status, code, field) => {
    expect(await answer(daemon.socketPath, request)).toEqual({ status, code, field });
    expect(await daemon.client.list()).toEqual([]);
    expect(daemon.reports).toEqual([]);
  });

  it('have a body of more than 1 MiB, announced or not', async () => {
    const path = daemon.socketPath;
    const limit = 1_048_576;
    const padded = (length: number): string => `{"topology":"netns"${' '.repeat(length - 20)}}`;
    expect((await answer(path, post('/v1/sandboxes', padded(limit)))).status).toBe(200);
    const tooBig = { status: 413, code: 'body_too_big', field: undefined };
    expect(await answer(path, post('/v1/sandboxes', padded(limit + 1)))).toEqual(tooBig);
    const head = 'POST /v1/sandboxes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    // Refused by what it announces, before it is there.
    expect(await answer(path, `${head}content-length: 9000000000\r\n\r\n`)).toEqual(tooBig);
    const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
    expect(await answer(path, `${head}transfer-encoding: chunked\r\n\r\n${chunk.repeat(17)}0\r\n\r\n`)).toEqual(tooBig);
    expect(await daemon.client.remove((await daemon.client.list()).map(({ id }) => id))).toHaveLength(1);
  });
});

describe('what comes after a request', () => {
  it('is never taken for the answer to it', async () => {
    await using daemon = await start();
    await daemon.client.create({ id: 'a1', topology: 'netns' });
    using connection = new RawConnection(daemon.socketPath);
    const response = await connection.send('DELETE /v1/sandboxes/a1 HTTP/1.1\r\nhost: x\r\n\r\n{}\r\n\r\n').toTheEnd();
    expect(response).not.toMatch(/HTTP\/1\.1 4/);
  });
});

describe('a peer that stalls', () => {
  let daemon: MemoryDaemon;
  beforeEach(async () => {
    daemon = await start({ config: { limits: { connections: 8 } } });
  });
  afterEach(() => daemon[Symbol.asyncDispose]());

  it.each([
    ['before it says anything', ''],
    ['within its headers', 'POST /v1/sandboxes HTTP/1.1\r\nhost:'],
    ['within its body', post('/v1/sandboxes', '{"topology":"netns"}').slice(0, -4)],
  ])('is cut %s', async (_, request) => {
    using connection = new RawConnection(daemon.socketPath);
    expect(read(await connection.send(request).toTheEnd())).toMatchObject({ status: 408, code: 'request_timeout' });
    expect(await daemon.client.list()).toEqual([]);
  });

  it('is cut between two requests', async () => {
    using connection = new RawConnection(daemon.socketPath);
    connection.send('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await connection.toTheEnd()).toMatch(/^HTTP\/1.1 200 OK/);
  });

  it('is cut where it does not read its response', async () => {
    await daemon.client.create({ topology: 'netns', count: 1000 });
    await daemon.client.create({ topology: 'netns', count: 1000 });
    using connection = new RawConnection(daemon.socketPath);
    connection.stall().send('GET /v1/sandboxes HTTP/1.1\r\nhost: x\r\n\r\n');
    await othersGone(daemon);
    const response = await connection.toTheEnd();
    expect(response.length).toBeLessThan(Number(/content-length: (\d+)/i.exec(response)?.[1]));
  });

  it('leaves room for others', async () => {
    const stalled = Array.from({ length: 20 }, () => new RawConnection(daemon.socketPath));
    await Promise.all(stalled.map((connection) => connection.toTheEnd()));
    expect(await daemon.client.list()).toEqual([]);
  });
});

describe('TCP', () => {
  const token = 'abcdefghijklmnopqrstuvwxyz.0123456789';
  let folder: string;
  let daemon: MemoryDaemon;
  let port: number;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'culvert-'));
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 });
    daemon = await start({ config: { api: { tcp: { listen: '127.0.0.1:0', tokenFile } } } });
    port = daemon.tcpPort ?? 0;
  });
  afterEach(async () => {
    await daemon[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  it('serves who bears the token', async () => {
    using client = new CulvertClient({ host: '127.0.0.1', port, token });
    await client.create({ id: 'a1', topology: 'netns' });
    expect(await daemon.client.list()).toHaveLength(1);
  });

  it.each(['x'.repeat(token.length), `${token}x`, token.slice(1), token.toUpperCase()])(
    'refuses the token %s',
    async (wrong) => {
      using client = new CulvertClient({ host: '127.0.0.1', port, token: wrong });
      await expect(client.list()).rejects.toMatchObject({ name: 'InputError', code: 'token_required' });
    },
  );

  it('refuses who bears none, on every route, before it reads a body', async () => {
    for (const path of ['/healthz', '/metrics', '/openapi.json', '/v1/events', '/nowhere']) {
      using connection = new RawConnection(port);
      const response = await connection.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`).toTheEnd();
      expect(read(response)).toMatchObject({ status: 401, code: 'token_required' });
      expect(response).toMatch(/^www-authenticate: Bearer\r$/m);
    }
    using connection = new RawConnection(port);
    connection.send('POST /v1/sandboxes HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n');
    expect(read(await connection.toTheEnd())).toMatchObject({ status: 401 });
  });
});
