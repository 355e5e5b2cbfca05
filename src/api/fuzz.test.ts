import { request } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryDaemon } from '../../test/support/memory-daemon.ts';

let daemon: MemoryDaemon;
beforeAll(async () => {
  daemon = await MemoryDaemon.start();
  await daemon.client.create({ id: 'a1', topology: 'netns' });
});
afterAll(() => daemon[Symbol.asyncDispose]());

type Reply = { readonly status: number; readonly text: string };

async function send(method: string, path: string, body: string): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const outgoing = request({ socketPath: daemon.socketPath, method, path, headers }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
  });
  outgoing.once('error', reject).end(body);
  return promise;
}

async function state(): Promise<unknown> {
  return { sandboxes: await daemon.client.list(), leases: await daemon.client.leases() };
}

/** Words of the API, so that much of what is sent is nearly right. */
const word = fc.constantFrom(
  'id',
  'ids',
  'count',
  'topology',
  'rates',
  'policy',
  'transmit',
  'receive',
  'rate',
  'burst',
  'egress',
  'allow',
  'deny',
  'force',
  'dryRun',
  '__proto__',
  'constructor',
  'toString',
  '',
);
const value = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('netns', 'microvm', 'bridge', 'open', 'none', 'a1', '10.0.0.0/8', '10.0.0.1/8'),
  },
  fc.constantFrom(1, 2, 0, -1, 0.5, 1e21, 1000, 65_536, 70_000, true, false, null),
  fc.string(),
  fc.double(),
);
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    { weight: 3, arbitrary: value },
    fc.dictionary(word, tie('tree'), { maxKeys: 5, noNullPrototype: false }),
    fc.array(tie('tree'), { maxLength: 3 }),
  ),
}));
const mutated = fc
  .tuple(
    fc.record({ topology: fc.constantFrom('netns', 'microvm', 'bridge') }),
    fc.dictionary(word, tree, { maxKeys: 3 }),
  )
  .map(([right, wrong]) => ({ ...right, ...wrong }));
const body = fc.oneof(
  fc.oneof(tree, mutated, fc.jsonValue()).map((json) => JSON.stringify(json) ?? ''),
  fc.string(),
);

const target = fc.oneof(
  fc.constantFrom('/v1/sandboxes', '/v1/sandboxes/a1', '/v1/leases/1/release', '/v1/reconcile', '/v1/status'),
  fc.webPath().map((path) => `/v1/sandboxes${path}`),
  fc.webQueryParameters().map((query) => `/v1/leases/2?${query}`),
);

describe('whatever a request holds', () => {
  it('the answer is never 5xx, and a refusal has changed nothing', async () => {
    const statuses = new Set<number>();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('POST', 'PATCH', 'DELETE', 'GET'), target, body, async (method, path, text) => {
        const before = await state();
        const reply = await send(method, path, text);
        statuses.add(reply.status);
        expect(reply.status).toBeLessThan(500);
        if (reply.status < 400) return;
        const { error } = JSON.parse(reply.text) as { error: { code: string; message: string } };
        expect(error.code).toMatch(/^[a-z][a-z0-9_]+$/);
        expect(error.message).toMatch(/^Cannot .*[^.]$/s);
        expect(error.message.length).toBeLessThan(400);
        expect(await state()).toEqual(before);
      }),
      {
        numRuns: 500,
        examples: [
          ['DELETE', '/v1/sandboxes/a1', '{}'],
          ['POST', '/v1/sandboxes', '{"topology":"netns"}'],
        ],
      },
    );
    // Both ways were taken, or the property says little.
    expect([...statuses]).toEqual(expect.arrayContaining([200, 400, 404]));
    expect(daemon.reports).toEqual([]);
  }, 60_000);
});
