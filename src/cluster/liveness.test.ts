import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { CulvertError } from '../errors.ts';
import { EmbeddedRegistry } from './embedded/registry.ts';
import { aliveKey } from './keys.ts';
import { Liveness } from './liveness.ts';

let folder: string;
let clock: HandClock;
let registry: EmbeddedRegistry;
let liveness: Liveness;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-liveness-'));
  clock = new HandClock();
  registry = new EmbeddedRegistry(join(folder, 'registry.sqlite'), clock);
  liveness = new Liveness(registry, () => clock.monotonicMs());
  await registry.commit([], [{ key: aliveKey('h1'), value: '' }]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await registry[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const ask = (names: readonly string[], freshMs: number): Promise<boolean> =>
  liveness.ask(new Map(names.map((name) => [name, freshMs])));
const known = (): unknown => ['h1', 'h2'].map((name) => liveness.isAlive(name));

it('is known of those that were asked for, until it is old, and of no others', async () => {
  expect(known()).toEqual([undefined, undefined]);
  expect(await ask(['h1', 'h2'], 1000)).toBe(true);
  expect(known()).toEqual([true, false]);
  await registry.commit([], [{ key: aliveKey('h2'), value: '' }]);
  clock.monotonic += 999;
  const get = vi.spyOn(registry, 'get');
  expect(await ask(['h1', 'h2'], 1000)).toBe(false);
  expect(get).not.toHaveBeenCalled();
  clock.monotonic += 1;
  expect(await ask(['h1', 'h2'], 1000)).toBe(true);
  expect(known()).toEqual([true, true]);
  expect(await ask(['h2'], 1000)).toBe(false);
  expect(known()).toEqual([undefined, true]);
});

it('is read in one list where many are asked for', async () => {
  const [get, list] = [vi.spyOn(registry, 'get'), vi.spyOn(registry, 'list')];
  expect(await ask(['h1', ...Array.from({ length: 99 }, (_, nth) => `h${nth + 2}`)], 1000)).toBe(true);
  expect([get.mock.calls.length, list.mock.calls.length]).toEqual([0, 1]);
  expect(known()).toEqual([true, false]);
});

it('stays as it was while the registry is away', async () => {
  await ask(['h1', 'h2'], 0);
  const away = new CulvertError('registry_unavailable', 'away');
  vi.spyOn(registry, 'get').mockRejectedValue(away);
  expect(await ask(['h1', 'h2'], 0)).toBe(false);
  expect(known()).toEqual([true, false]);
});
