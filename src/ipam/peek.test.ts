import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { claim } from './allocator.ts';
import { parseSandboxId, parseSlot } from './lease.ts';
import { countSandboxes } from './peek.ts';
import { openStore } from './store.ts';
import { advance } from './transition.ts';

const SLOTS = { first: parseSlot(1), last: parseSlot(8) };

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-peek-'));
  file = join(folder, 'leases.sqlite');
});
afterEach(() => rmSync(folder, { recursive: true }));

it('counts what has an owner, and makes no database', () => {
  const clock = new HandClock();
  expect(countSandboxes(file, clock)).toBe(0);
  expect(existsSync(file)).toBe(false);
  const owned = (id: string): object => ({ topology: 'netns', sandboxId: parseSandboxId(id), specification: '{}' });
  using store = openStore(file, clock);
  const requests = [{ topology: 'netns' }, owned('a'), owned('b'), owned('c')] as Parameters<typeof claim>[1];
  const [warm, one, , other] = claim(store, requests, SLOTS);
  if (warm === undefined || one === undefined || other === undefined) throw new Error('There are four');
  advance(store, warm, 'warm');
  advance(store, one, 'ready');
  advance(store, other, 'removing');
  // beside who writes it, and after
  expect(countSandboxes(file, clock)).toBe(3);
  store.close();
  expect(countSandboxes(file, clock)).toBe(3);
  expect(countSandboxes(file, { bootId: 'another' })).toBe(0);
  openStore(file, clock).close();
});

it('does not take what it cannot read for nothing', () => {
  writeFileSync(file, 'no database, but as long as the head of one would have to be to be read'.repeat(20));
  expect(() => countSandboxes(file, new HandClock())).toThrow(expect.objectContaining({ code: 'store_corrupt' }));
  writeFileSync(file, '');
  expect(() => countSandboxes(file, new HandClock())).toThrow(expect.objectContaining({ code: 'store_corrupt' }));
});
