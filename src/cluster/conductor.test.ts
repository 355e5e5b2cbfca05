import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { Conductor, readAllProgress } from './conductor.ts';
import { EmbeddedRegistry } from './embedded/registry.ts';
import { beginEpoch, currentEpoch } from './epoch.ts';
import { foundCluster } from './found.ts';
import { aliveKey, progressKey } from './keys.ts';
import { type EpochRecord, type Phase, writeProgress } from './records.ts';
import type { Lease } from './registry.ts';

const PATIENCE = { timeout: 10_000, interval: 20 };

let folder: string;
let clock: HandClock;
let registry: EmbeddedRegistry;
let ended: AbortController;
let runs: Promise<void>[];

class Host {
  readonly name: string;
  readonly lease: Lease;
  readonly seen: EpochRecord[] = [];
  readonly end = new AbortController();

  constructor(name: string, lease: Lease) {
    this.name = name;
    this.lease = lease;
    const conductor = new Conductor({
      registry,
      name,
      lease: () => this.lease,
      changed: (epoch) => void this.seen.push(epoch),
    });
    runs.push(conductor.run(AbortSignal.any([ended.signal, this.end.signal])));
  }

  async reach(number: number, reached: Phase): Promise<void> {
    const value = writeProgress({ number, reached, waitsFor: [] });
    await registry.commit([], [{ key: progressKey(this.name), value, lease: this.lease }]);
  }
}

async function host(name: string): Promise<Host> {
  const lease = await registry.grant(10_000);
  await registry.commit([], [{ key: aliveKey(name), value: '', lease }]);
  return new Host(name, lease);
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-conductor-'));
  clock = new HandClock();
  registry = new EmbeddedRegistry(join(folder, 'registry.sqlite'), clock);
  await foundCluster(registry, { mtu: 1420 });
  ended = new AbortController();
  runs = [];
});
afterEach(async () => {
  ended.abort();
  await Promise.all(runs);
  await registry[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const phase = async (): Promise<string> => {
  const epoch = await currentEpoch(registry);
  return `${epoch.number} ${epoch.phase}`;
};

it('leads a change from phase to phase, each when all have come as far', async () => {
  const hosts = await Promise.all(['h1', 'h2', 'h3'].map(host));
  const [h1, h2, h3] = hosts as [Host, Host, Host];
  await expect.poll(() => h1.seen.map(({ number }) => number), PATIENCE).toEqual([0]);
  await beginEpoch(registry, { encrypts: false }, 0);
  await Promise.all([h1.reach(1, 'accept'), h2.reach(1, 'accept')]);
  await expect.poll(async () => (await registry.get('mesh/conductor'))?.value, PATIENCE).toMatch(/^h/);
  // of another epoch it says nothing
  await h3.reach(0, 'drop');
  await new Promise((resolve) => void setTimeout(resolve, 600));
  expect(await phase()).toBe('1 accept');
  await h3.reach(1, 'send');
  await expect.poll(phase, PATIENCE).toBe('1 send');
  await Promise.all([h1.reach(1, 'drop'), h2.reach(1, 'drop'), h3.reach(1, 'drop')]);
  await expect.poll(phase, PATIENCE).toBe('1 done');
  await expect.poll(() => registry.get('mesh/conductor'), PATIENCE).toBeUndefined();
  expect(h2.seen.map((one) => `${one.number} ${one.phase}`)).toEqual([
    '0 done',
    '1 accept',
    '1 send',
    '1 drop',
    '1 done',
  ]);
  expect((await readAllProgress(registry)).get('h1')).toEqual({ number: 1, reached: 'drop', waitsFor: [] });
});

it('goes on with another leader where the first is lost, and without those who are', async () => {
  const [h1, h2] = [await host('h1'), await host('h2')];
  await beginEpoch(registry, { encrypts: false }, 0);
  await expect.poll(async () => (await registry.get('mesh/conductor'))?.value, PATIENCE).toMatch(/^h/);
  const leads = (await registry.get('mesh/conductor'))?.value === 'h1' ? h1 : h2;
  const other = leads === h1 ? h2 : h1;
  leads.end.abort();
  await other.reach(1, 'drop');
  await leads.lease.revoke();
  await expect.poll(phase, PATIENCE).toBe('1 done');
});

it('takes one wish after the other, and changes keys only between changes', async () => {
  const h1 = await host('h1');
  expect(await beginEpoch(registry, { encrypts: true }, 0)).toMatchObject({ number: 0, phase: 'done' });
  await beginEpoch(registry, { encrypts: false }, 0);
  await expect(beginEpoch(registry, { rotates: true }, 0)).rejects.toThrow(/epoch 1 is under way, in phase accept/);
  // it is taken back half-way
  expect(await beginEpoch(registry, { encrypts: true }, 0)).toMatchObject({
    number: 2,
    phase: 'accept',
    encrypts: true,
  });
  await h1.reach(2, 'drop');
  await expect.poll(phase, PATIENCE).toBe('2 done');
  expect(await beginEpoch(registry, { rotates: true, whenDown: 'clear' }, 77)).toEqual({
    number: 3,
    phase: 'accept',
    encrypts: true,
    rotation: 1,
    whenDown: 'clear',
    rotatedWallMs: 77,
    mtu: 1420,
    formerMtu: 1420,
  });
});

it('keeps within what hosts take and send, wherever between two sizes they are', async () => {
  const h1 = await host('h1');
  const sizes = async (mtu: number): Promise<[number, number]> => {
    const epoch = await beginEpoch(registry, { mtu }, 0);
    return [epoch.mtu, epoch.formerMtu];
  };
  expect(await sizes(1320)).toEqual([1320, 1420]);
  await expect(beginEpoch(registry, { mtu: 1400 }, 0)).rejects.toThrow(/under way, in phase accept, from 1420 to 1320/);
  // something else is wished for meanwhile
  expect(await beginEpoch(registry, { encrypts: false }, 0)).toMatchObject({ mtu: 1320, formerMtu: 1420 });
  // it is taken back, and then is to be still less
  expect(await sizes(1420)).toEqual([1420, 1320]);
  expect(await sizes(1280)).toEqual([1280, 1420]);
  await h1.reach(4, 'drop');
  await expect.poll(phase, PATIENCE).toBe('4 done');
  expect(await sizes(1500)).toEqual([1500, 1280]);
});
