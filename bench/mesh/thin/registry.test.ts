import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LabEtcd } from '../../../lab/etcd.ts';
import { EtcdRegistry } from '../../../src/cluster/etcd/registry.ts';
import { Member } from '../../../src/cluster/member.ts';
import type { Registry } from '../../../src/cluster/registry.ts';
import { ThinRegistry } from './registry.ts';

/* What is thin has to do in etcd what the registry does, or a crowd of it would say nothing. */

let opened: AsyncDisposableStack;
let thin: ThinRegistry;
let whole: EtcdRegistry;
let etcd: LabEtcd;

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  etcd = opened.use(await LabEtcd.start());
  const [address = ''] = etcd.endpoints;
  thin = opened.use(new ThinRegistry(address, 'test/'));
  whole = opened.use(new EtcdRegistry({ endpoints: [address], namespace: 'test/' }));
});
afterEach(() => opened.disposeAsync());

const PATIENCE = { timeout: 30_000, interval: 20 };

it('writes, reads and refuses the same', async () => {
  const both: readonly Registry[] = [thin, whole];
  for (const [index, one] of both.entries()) {
    const key = `a/${index}`;
    const revision = await one.commit([{ key, revision: 0 }], [{ key, value: 'ä' }]);
    expect(revision).toBeGreaterThan(0);
    expect(await one.commit([{ key, revision: 0 }], [{ key, value: 'again' }])).toBeUndefined();
    expect(await one.commit([{ key, revision: revision ?? 0 }], [{ key, value: 'b' }])).toBeGreaterThan(revision ?? 0);
  }
  expect(await thin.list('a/')).toEqual(await whole.list('a/'));
  expect(await thin.get('a/1')).toEqual(await whole.get('a/1'));
  await thin.commit([], [{ key: 'a/0', value: undefined }]);
  expect(await thin.get('a/0')).toBeUndefined();
});

it('keeps leases, and is told of one that has ended', async () => {
  const lease = await thin.grant(60_000);
  await thin.commit([], [{ key: 'a', value: '1', lease }]);
  await Promise.all([lease.keepAlive(), lease.keepAlive()]);
  expect(await whole.get('a')).toMatchObject({ value: '1' });
  await lease.revoke();
  expect(await whole.get('a')).toBeUndefined();
  await expect(lease.keepAlive()).rejects.toMatchObject({ code: 'registry_lease_lost' });
});

it('has a place as any other host, and counts whom it hears of, however fast they come', async () => {
  const parts = {
    timing: { alive_ms: 10_000, hold_ms: 60_000 },
    nowMs: () => performance.now(),
    changed: () => undefined,
    leased: () => undefined,
  };
  const session = { id: randomUUID(), place: 'here' };
  const request = { identity: randomUUID(), session, version: '1', mtu: 1420, published: {} };
  const one = await Member.join({ ...parts, registry: thin, request: { ...request, name: 'h1' } });
  const other = await Member.join({ ...parts, registry: whole, request: { ...request, name: 'h2' } });
  const count = { put: 0, deleted: 0 };
  await thin.count('hosts/', count, () => undefined);
  expect(count).toEqual({ put: 2, deleted: 0 });
  for (let index = 0; index < 300; index++) await whole.commit([], [{ key: `hosts/x${index}`, value: '{}' }]);
  await expect.poll(() => count, PATIENCE).toEqual({ put: 302, deleted: 0 });
  await Promise.all([one.resign(), other.resign()]);
  await expect.poll(() => count, PATIENCE).toEqual({ put: 302, deleted: 2 });
  expect((await whole.list('alive/')).entries).toEqual([]);
});
