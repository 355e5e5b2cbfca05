import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { EmbeddedRegistry } from './embedded/registry.ts';
import { foundCluster } from './found.ts';
import { CLUSTER } from './keys.ts';
import { OwnRegistry } from './own-registry.ts';
import { writeCluster } from './records.ts';
import type { Entry, News } from './registry.ts';

const FOREIGN = {
  code: 'registry_foreign',
  message: expect.stringMatching(/there is (no cluster|cluster 5a6f[^,]+), and/),
};

let folder: string;
let raw: EmbeddedRegistry;
let own: OwnRegistry;
let cluster: Entry;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-own-'));
  raw = new EmbeddedRegistry(join(folder, 'registry.sqlite'), new HandClock());
  own = new OwnRegistry(raw);
  const { id } = await foundCluster(raw, { mtu: 1420 });
  cluster = (await raw.get(CLUSTER)) as Entry;
  await own.commit([], [{ key: 'hosts/h1', value: '1' }]);
  own.belongsTo(id);
});
afterEach(async () => {
  await own[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** As another etcd at the same address. */
async function become(value: string | undefined): Promise<void> {
  await raw.commit([], [{ key: CLUSTER, value }]);
}

it.each([
  ['was emptied', undefined],
  ['is another cluster’s', { id: '5a6f0d4e-64b5-4b0c-8f5e-0d8c51b36c4f' }],
])('%s is as one that is away, and nothing is written there', async (_what, other) => {
  expect(await own.get('hosts/h1')).toMatchObject({ value: '1' });
  expect(await own.get('hosts/h2')).toBeUndefined();
  expect(await own.commit([], [{ key: 'hosts/h2', value: '2' }])).toBeGreaterThan(0);
  const record = JSON.parse(cluster.value) as object;
  const foreign = other && JSON.stringify({ ...record, ...other });
  await become(foreign);
  await expect(own.commit([], [{ key: 'hosts/h3', value: '3' }])).rejects.toMatchObject(FOREIGN);
  expect(own.foreign).toMatchObject(FOREIGN);
  await expect(own.get('hosts/h1')).rejects.toMatchObject(FOREIGN);
  await expect(own.get('hosts/h9')).rejects.toMatchObject(FOREIGN);
  await expect(own.list('hosts/')).rejects.toMatchObject(FOREIGN);
  await expect(own.follow('hosts/', AbortSignal.timeout(5000))[Symbol.asyncIterator]().next()).rejects.toMatchObject(
    FOREIGN,
  );
  expect(await raw.get('hosts/h3')).toBeUndefined();
  // put back: with another revision than it had
  await become(cluster.value);
  expect(await own.commit([], [{ key: 'hosts/h3', value: '3' }])).toBeGreaterThan(0);
  expect(own.foreign).toBeUndefined();
  expect(await own.get('hosts/h3')).toMatchObject({ value: '3' });
});

it('is found to be another’s also by what it does not have', async () => {
  await become(undefined);
  await expect(own.list('alive/')).rejects.toMatchObject(FOREIGN);
  await become(cluster.value);
  await become(undefined);
  await expect(own.get('alive/h1')).rejects.toMatchObject(FOREIGN);
});

it('tells whether a condition holds, whatever became of the cluster’s record', async () => {
  const entry = await own.get('hosts/h1');
  const write = { key: 'hosts/h1', value: '2' };
  const condition = { key: 'hosts/h1', revision: entry?.revision ?? 0 };
  await become(cluster.value);
  expect(await own.commit([condition], [write])).toBeGreaterThan(0);
  expect(await own.commit([condition], [write])).toBeUndefined();
});

it('is followed as it is', async () => {
  const heard: News[] = [];
  const end = new AbortController();
  const following = (async (): Promise<void> => {
    for await (const news of own.follow('hosts/', end.signal)) heard.push(news);
  })();
  await expect.poll(() => heard.length).toBe(1);
  await own.commit([], [{ key: 'hosts/h1', value: '2' }]);
  await expect.poll(() => heard.map(({ kind }) => kind)).toEqual(['all', 'changes']);
  end.abort();
  await following;
});

it('founds and joins as any other before it belongs to one', async () => {
  const free = new OwnRegistry(raw);
  await become(undefined);
  expect(await free.get(CLUSTER)).toBeUndefined();
  expect(
    await free.commit(
      [{ key: CLUSTER, revision: 0 }],
      [{ key: CLUSTER, value: writeCluster({ id: 'new', range: { address: 0 as never, length: 8 }, unit: 20 }) }],
    ),
  ).toBeGreaterThan(0);
});
