import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HandClock } from '../../../lab/hand-clock.ts';
import { EmbeddedRegistry } from '../../cluster/embedded/registry.ts';
import { currentEpoch, firstEpoch } from '../../cluster/epoch.ts';
import { EPOCH } from '../../cluster/keys.ts';
import { type EpochRecord, writeEpoch } from '../../cluster/records.ts';
import type { Registry } from '../../cluster/registry.ts';
import { CulvertError } from '../../errors.ts';
import { KeyRotation } from './key-rotation.ts';

const EVERY_MS = 3_600_000;
const HOLD_MS = 600_000;

let folder: string;
let clock: HandClock;
let registry: EmbeddedRegistry;
let alive: string[];
/** as the hosts have heard of it */
let epoch: EpochRecord;
let events: string[];
/** as the hosts see them */
let late: string[];
let opened: DisposableStack;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-rotation-'));
  clock = new HandClock();
  registry = new EmbeddedRegistry(join(folder, 'registry.sqlite'), clock);
  alive = ['h1', 'h2', 'h3'];
  events = [];
  late = [];
  epoch = firstEpoch(1420);
  await registry.commit([], [{ key: EPOCH, value: writeEpoch(epoch) }]);
  opened = new DisposableStack();
});
afterEach(async () => {
  opened.dispose();
  await registry[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

function host(name: string, asked: Registry = registry): KeyRotation {
  const emit = ({ type }: { readonly type: string }): void => void events.push(`${name} ${type}`);
  const others = (): string[] => ['h1', 'h2', 'h3'].filter((other) => other !== name);
  const isIn = (): boolean => alive.includes(name);
  const known = { others, isIn, epoch: () => epoch, late: () => late };
  const parts = { registry: asked, name, ...known, holdMs: HOLD_MS, everyMs: EVERY_MS, clock, emit };
  return opened.use(new KeyRotation(parts));
}

async function lookAll(hosts: readonly KeyRotation[]): Promise<number> {
  await Promise.all(hosts.map((one) => one.look()));
  return (await currentEpoch(registry)).rotation;
}

function pass(ms: number): void {
  clock.wall += ms;
  clock.monotonic += ms;
}

/** As a change ends, and all hear of it. */
async function done(): Promise<void> {
  epoch = { ...(await currentEpoch(registry)), phase: 'done' };
  await registry.commit([], [{ key: EPOCH, value: writeEpoch(epoch) }]);
}

it('has one host change the keys, again and again, and the next one where the first is not there', async () => {
  const hosts = ['h3', 'h1', 'h2'].map((name) => host(name));
  expect(await lookAll(hosts)).toBe(0);
  // nobody knows since when the first ones are there
  pass(EVERY_MS / 10);
  expect(await lookAll(hosts)).toBe(1);
  expect(events).toEqual(['h1 mesh.keys_old']);
  expect(await currentEpoch(registry)).toMatchObject({ number: 1, phase: 'accept', rotatedWallMs: clock.wall });
  await done();
  expect(await lookAll(hosts)).toBe(1);
  alive = ['h2', 'h3'];
  pass(EVERY_MS);
  expect(await lookAll(hosts)).toBe(1);
  // the next one's turn
  pass(10_000);
  expect(await lookAll(hosts)).toBe(2);
  expect(events).toEqual(['h1 mesh.keys_old', 'h2 mesh.keys_old']);
});

it('changes them once where several judge that they are old, and where some have yet to hear of it', async () => {
  const hosts = ['h1', 'h2', 'h3'].map((name) => host(name));
  await lookAll(hosts);
  pass(EVERY_MS + 100_000);
  expect(await lookAll(hosts)).toBe(1);
  expect(events).toHaveLength(1);
  // the record is another by now than what they were told
  const heard = epoch;
  await done();
  epoch = heard;
  expect(await lookAll(hosts)).toBe(1);
});

it('waits for hosts that the next keys would cut off, as long as such a host is waited for', async () => {
  const one = host('h1');
  late = ['h3'];
  await lookAll([one]);
  expect(one.problems()).toEqual([]);
  pass(EVERY_MS);
  expect(await lookAll([one])).toBe(0);
  expect(one.problems().map(({ message }) => message)).toEqual([
    'The keys are older than cluster.rotateKeysEveryMs says and are not changed: h3 would be cut off, having missed the last change; they are waited for 600 s more: see that they reach the registry, or remove them (culvert hosts remove)',
  ]);
  late = [];
  expect(await lookAll([one])).toBe(1);
  expect(one.problems()).toEqual([]);
  await done();
  await lookAll([one]);
  late = Array.from({ length: 10 }, (_, index) => `h${index + 2}`);
  pass(EVERY_MS);
  expect(await lookAll([one])).toBe(1);
  expect(one.problems()[0]?.message).toContain('h8, h9 and 2 others');
  pass(HOLD_MS);
  expect(await lookAll([one])).toBe(2);
  expect(one.problems()).toEqual([]);
});

it('says why it cannot, but for a registry that is away', async () => {
  let code = 'registry_denied';
  const refusing = Object.assign(Object.create(registry) as Registry, {
    get: () => Promise.reject(new CulvertError(code, 'no')),
  });
  const one = host('h1', refusing);
  await one.look();
  pass(EVERY_MS);
  await one.look();
  expect(one.problems().map(({ code: problem, message }) => [problem, message])).toEqual([
    ['keys_old', 'The keys are older than cluster.rotateKeysEveryMs says and are not changed: no'],
  ]);
  code = 'registry_unavailable';
  const other = host('h1', refusing);
  await other.look();
  pass(EVERY_MS);
  await other.look();
  expect(other.problems()).toEqual([]);
});
