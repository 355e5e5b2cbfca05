import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { claim } from '../ipam/allocator.ts';
import { releaseEarly } from '../ipam/early-release.ts';
import { parseSlot } from '../ipam/lease.ts';
import { openStore, type Store } from '../ipam/store.ts';
import { advance, listLeases } from '../ipam/transition.ts';
import { Batch } from './crew/batch.ts';
import { holdingOf } from './holding.ts';
import { Reaper } from './reaper.ts';
import { DEFAULT_LAYOUT, hostAddress } from './topology/layout.ts';

const NOTHING = { found: new Set<never>(), left: new Set<never>() };

let folder: string;
let store: Store;
let clock: HandClock;
/** when the kernel was asked, on that clock */
let asked: number[] = [];
let refuses = true;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reaper-'));
  clock = new HandClock();
  store = openStore(join(folder, 'leases.sqlite'), clock);
  asked = [];
  refuses = true;
});

afterEach(() => {
  store[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** What clears one network away, or refuses to. */
function crew(): Pick<ConstructorParameters<typeof Reaper>[0]['crew'], 'begin' | 'advance' | 'finish'> {
  return {
    begin: (task, networks) => new Batch(1, task, networks),
    advance: (batch) => {
      asked.push(clock.monotonic);
      const index = batch.job.take() ?? 0;
      if (refuses) batch.failures.set(index, new Error('the kernel refuses'));
      batch.job.settle(index, refuses ? 'failed' : 'done');
      return true;
    },
    finish: () => undefined,
  };
}

function stepFor(reaper: Reaper, ms: number): void {
  for (const endMs = clock.monotonic + ms; clock.monotonic < endMs; clock.monotonic += 10) reaper.step();
}

/** One after the other. */
function removeAll(reaper: Reaper): void {
  for (const lease of listLeases(store)) {
    advance(store, lease, 'removing');
    reaper.add(holdingOf({ ...lease, state: 'removing' }));
    stepFor(reaper, 100);
  }
}

it('asks the kernel again for what it refuses, more and more seldom, says so, and never gives up', () => {
  claim(store, [{ topology: 'netns' }], { first: parseSlot(5), last: parseSlot(5) });
  const [lease] = listLeases(store);
  if (lease === undefined) throw new Error('No lease');
  advance(store, lease, 'removing');
  const reaper = new Reaper({
    store,
    kernel: { presentLinks: () => new Set() } as never,
    crew: crew() as never,
    layout: { ...DEFAULT_LAYOUT, mtu: 1420 },
    floor_ms: 0,
    flush: () => NOTHING,
  });
  reaper.add(holdingOf({ ...lease, state: 'removing' }));
  const begunMs = clock.monotonic;
  const stepUntil = (untilMs: number): void => {
    for (; clock.monotonic < begunMs + untilMs; clock.monotonic += 10) reaper.step();
  };
  stepUntil(5_000);
  expect(reaper.stuck).toEqual([]);
  expect(reaper.refused).toBe(1);
  stepUntil(200_000);
  expect(reaper.stuck).toEqual([{ key: { slot: 5, generation: 1 }, reason: 'the kernel refuses' }]);
  const pauses = asked.slice(1).map((at, index) => at - (asked[index] ?? 0));
  expect(pauses.slice(0, 4)).toEqual([50, 100, 200, 400]);
  expect(Math.max(...pauses)).toBeLessThan(61_000);
  refuses = false;
  stepUntil(300_000);
  expect(reaper.stuck).toEqual([]);
  expect(listLeases(store)).toEqual([]);
});

it('frees every other slot while something of the address of one is left', () => {
  claim(store, [{ topology: 'netns' }, { topology: 'netns' }], { first: parseSlot(5), last: parseSlot(6) });
  const layout = { ...DEFAULT_LAYOUT, mtu: 1420 };
  const noisy = new Set([hostAddress(layout, 5)]);
  refuses = false;
  const kernel = { presentLinks: () => new Set() } as never;
  const reaper = new Reaper({
    store,
    kernel,
    crew: crew() as never,
    layout,
    floor_ms: 100,
    flush: () => ({ found: noisy, left: noisy }),
  });
  removeAll(reaper);
  stepFor(reaper, 10_000);
  expect(listLeases(store).map(({ slot }) => slot)).toEqual([5]);
  noisy.clear();
  stepFor(reaper, 1_000);
  expect(listLeases(store)).toEqual([]);
});

it('keeps an address that is still sent to when its time is over, as long as it is, and unless a person says otherwise', () => {
  claim(store, [{ topology: 'netns' }, { topology: 'netns' }], { first: parseSlot(5), last: parseSlot(6) });
  const layout = { ...DEFAULT_LAYOUT, mtu: 1420 };
  const used = new Set([5, 6].map((slot) => hostAddress(layout, slot)));
  refuses = false;
  const reaper = new Reaper({
    store,
    kernel: { presentLinks: () => new Set() } as never,
    crew: crew() as never,
    layout,
    floor_ms: 1000,
    // deleted each time, and there again when it is next looked for
    flush: () => ({ found: used, left: NOTHING.left }),
  });
  removeAll(reaper);
  stepFor(reaper, 10_000);
  const reason = 'removed, and its address is still in use';
  const quarantine = expect.objectContaining({ flushVerified: true, reason });
  expect(listLeases(store)).toMatchObject([{ quarantine }, { quarantine }]);
  releaseEarly(store, parseSlot(5), { force: false });
  stepFor(reaper, 20);
  expect(listLeases(store).map(({ slot }) => slot)).toEqual([6]);
  used.clear();
  stepFor(reaper, 1_100);
  expect(listLeases(store)).toEqual([]);
});
