import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HandClock } from '../../../lab/hand-clock.ts';
import { MemoryEngine } from '../../../test/support/memory-engine.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { EmbeddedRegistry } from '../../cluster/embedded/registry.ts';
import { firstEpoch } from '../../cluster/epoch.ts';
import { OwnRegistry } from '../../cluster/own-registry.ts';
import { parseSandboxId } from '../../ipam/lease.ts';
import { Directory } from '../groups/directory.ts';
import { Cluster } from './cluster.ts';
import { ClusteredEngine } from './clustered-engine.ts';
import { KeyRing } from './key-ring.ts';
import { newSeat } from './seat.ts';

let folder: string;
let clock: HandClock;
let registry: EmbeddedRegistry;
let inner: MemoryEngine;
let engine: ClusteredEngine<MemoryEngine>;
let reports: unknown[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-clustered-'));
  clock = new HandClock();
  registry = new EmbeddedRegistry(join(folder, 'registry.sqlite'), clock);
  const seat = newSeat(folder);
  const request = { name: 'h1', identity: seat.identity, session: { id: randomUUID(), place: 'here' }, version: '1' };
  const keys = new KeyRing(folder, 51_820);
  const address = parseIpv4('192.0.2.11');
  const published = { address, clearPort: 51_830, keys: [keys.key(0)], mtu: 1420, isDraining: false };
  const place = { stateDir: folder, holdMs: 60_000, uplink: undefined, isOnLink: () => false };
  const cluster = await Cluster.enter(
    { registry: new OwnRegistry(registry), request, published, epoch: firstEpoch(1420), clock, ...place },
    seat,
  );
  inner = new MemoryEngine();
  reports = [];
  const report = (error: unknown): void => void reports.push(error);
  engine = new ClusteredEngine(inner, { cluster, directory: new Directory(), keys, clock, report });
});
afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

const specification = { topology: 'netns', rates: {}, policy: { egress: 'open', allow: [], deny: [] } } as const;
const create = (id: string): Promise<unknown> => engine.create([{ id: parseSandboxId(id), specification }]);
const problems = async (): Promise<string[]> => (await engine.status()).problems.map(({ code }) => code);

it('gives no address away of a host that has no part in its cluster any more, and takes what it has back', async () => {
  await create('a');
  const other = new EmbeddedRegistry(join(folder, 'registry.sqlite'), clock);
  await other.commit([], [{ key: 'hosts/h1', value: undefined }]);
  await other[Symbol.asyncDispose]();
  await expect.poll(problems).toEqual(['expelled']);
  await expect(create('b')).rejects.toMatchObject({ code: 'expelled' });
  await engine.remove([parseSandboxId('a')]);
  expect(await engine.list()).toEqual([]);
});

it('tells of each problem of the cluster when it comes and when it goes', async () => {
  const told: unknown[] = [];
  engine.subscribe(({ type, data }) => {
    if (type.startsWith('problem.')) told.push([type, data?.['code']]);
  });
  await registry.commit([], [{ key: 'hosts/h2', value: 'nonsense' }]);
  await expect.poll(() => told, { timeout: 10_000 }).toEqual([['problem.raised', 'peer_unreadable']]);
  expect(await problems()).toEqual(['peer_unreadable']);
  await registry.commit([], [{ key: 'hosts/h2', value: undefined }]);
  await expect.poll(() => told.at(-1), { timeout: 10_000 }).toEqual(['problem.cleared', 'peer_unreadable']);
});

it('tells other hosts that it is draining, now and when it is there again', async () => {
  const isTold = async (): Promise<unknown> => {
    const entry = await registry.get('hosts/h1');
    return (JSON.parse(entry?.value ?? '') as { published: { isDraining: boolean } }).published.isDraining;
  };
  expect(await isTold()).toBe(false);
  await engine.setDraining(true);
  expect(await isTold()).toBe(true);
  await expect(create('a')).rejects.toMatchObject({ code: 'draining' });
  await expect.poll(async () => (await engine.hosts()).map(({ mesh }) => mesh?.isDraining)).toEqual([true]);
  await engine.setDraining(false);
  expect(await isTold()).toBe(false);
  await create('a');
});

it('tells the engine again what that did not take, as it is by then', async () => {
  const told: unknown[] = [];
  inner.updatePeers = async (...call: unknown[]) => {
    told.push(call);
    if (told.length === 1) throw new Error('it is overloaded');
  };
  const keys = [{ rotation: 0, publicKey: Buffer.alloc(32, 8).toString('base64'), port: 51_820 }];
  const published = { address: '192.0.2.12', clearPort: 51_830, keys, mtu: 1420 };
  const h2 = { format: 1, identity: randomUUID(), generation: 1, version: '1', subnet: '10.64.16.0/20', published };
  await registry.commit([], [{ key: 'hosts/h2', value: JSON.stringify(h2) }]);
  await expect.poll(() => told.length, { timeout: 10_000 }).toBe(2);
  expect(told).toEqual([[[{ name: 'h2', peer: expect.objectContaining({ keys }) }], true], told[0]]);
});

it('purges a host whose place cannot be given back, and says so', async () => {
  const events: string[] = [];
  engine.subscribe(({ type }) => void events.push(type));
  await registry[Symbol.asyncDispose]();
  await engine.purge();
  expect(events).toContain('cluster.place_kept');
  expect(reports).toHaveLength(1);
});
