import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { systemClock } from '../clock.ts';
import { InputError } from '../errors.ts';
import { claim } from './allocator.ts';
import { type Lease, parseSandboxId, parseSlot } from './lease.ts';
import { awaitingFlush, enterQuarantine, markFlushed, onBoot, releaseDue } from './quarantine.ts';
import { openStore, type Store } from './store.ts';
import { advance, assign, listLeases } from './transition.ts';

const POOL = { topology: 'netns' } as const;
const all = { first: parseSlot(1), last: parseSlot(32767) };
const few = { first: parseSlot(7), last: parseSlot(9) };
// Each claim waits for the disk, which others may keep busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let folder: string;
let clock: HandClock;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-quarantine-'));
  clock = new HandClock();
  store = openStore(join(folder, 'leases.db'), clock);
});
afterEach(() => {
  store[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** A lease that was claimed and is being removed. */
function removing(range = all): Lease {
  const [lease] = claim(store, [POOL], range);
  if (lease === undefined) throw new Error('no lease');
  advance(store, lease, 'removing');
  return lease;
}

describe('the quarantine', () => {
  it('ends neither before its floor nor before its flush, to the fraction of a millisecond', () => {
    const lease = removing();
    clock.monotonic = 5000.5;
    enterQuarantine(store, lease);
    clock.monotonic = 6000.4;
    markFlushed(store, [lease]);
    expect(releaseDue(store, 10)).toEqual([]);
    clock.monotonic = 6001;
    expect(releaseDue(store, 10)).toHaveLength(1);

    const unflushed = removing();
    enterQuarantine(store, unflushed);
    clock.monotonic += 1e9;
    expect(releaseDue(store, 10)).toEqual([]);
    expect(awaitingFlush(store, 10).map(({ slot }) => slot)).toEqual([unflushed.slot]);
  });

  it('is measured by no wall clock', () => {
    const lease = removing();
    enterQuarantine(store, lease, { floor_ms: 500 });
    markFlushed(store, [lease]);
    for (const jump of [1e12, -2e12]) {
      clock.wall += jump;
      expect(releaseDue(store, 10)).toEqual([]);
    }
    clock.monotonic += 500;
    expect(releaseDue(store, 10)).toHaveLength(1);
  });

  it('keeps the whole floor of the new boot where the old one had a smaller clock', () => {
    const lease = removing();
    clock.monotonic = 100;
    enterQuarantine(store, lease);
    markFlushed(store, [lease]);
    clock.bootId = 'boot-1';
    clock.monotonic = 1e9;
    expect(releaseDue(store, 10)).toEqual([]);
    expect(onBoot(store).map(({ slot, state }) => [slot, state])).toEqual([[lease.slot, 'quarantined']]);
    expect(releaseDue(store, 10)).toEqual([]);
    clock.monotonic += 1000;
    expect(releaseDue(store, 10)).toHaveLength(1);
    expect(claim(store, [POOL], { first: lease.slot, last: lease.slot })[0]?.generation).toBe(2);
  });

  it('says why, and refuses terms out of bounds without a change', () => {
    const lease = removing();
    for (const floor_ms of [-1, 0.5, 86_400_001, Number.NaN]) {
      expect(() => enterQuarantine(store, lease, { floor_ms })).toThrow(InputError);
    }
    for (const reason of ['', 'x'.repeat(201)]) {
      expect(() => enterQuarantine(store, lease, { reason })).toThrow(InputError);
    }
    expect(listLeases(store)[0]?.state).toBe('removing');
    enterQuarantine(store, lease, { reason: 'address answers', floor_ms: 7 });
    const quarantine = { reason: 'address answers', dueMonotonicMs: clock.monotonic + 7, flushVerified: false };
    expect(listLeases(store)[0]).toMatchObject({ state: 'quarantined', quarantine });
  });

  it('marks a batch flushed whole or not at all', () => {
    const [gone, held] = [removing(), removing()];
    enterQuarantine(store, gone);
    expect(() => markFlushed(store, [gone, held])).toThrow(/mark it flushed: slot 2 \(generation 1\) is removing/);
    expect(awaitingFlush(store, 10)).toHaveLength(1);
  });
});

describe('claiming', () => {
  it('takes slots never used first, then those free the longest', () => {
    const leases = [removing(few), removing(few), removing(few)];
    const [a, b, c] = leases.map(({ slot, generation }) => ({ slot, generation }));
    if (a === undefined || b === undefined || c === undefined) throw new Error('no leases');
    expect([a, b, c].map(({ slot }) => slot)).toEqual([7, 8, 9]);
    for (const lease of [b, c, a]) {
      enterQuarantine(store, lease, { floor_ms: 0 });
      markFlushed(store, [lease]);
      clock.monotonic += 1;
      expect(releaseDue(store, 1)).toHaveLength(1);
    }
    expect(claim(store, [POOL, POOL, POOL], few).map(({ slot }) => slot)).toEqual([8, 9, 7]);
    expect(claim(store, [POOL], all)[0]?.slot).toBe(1);
  });

  it('says what holds an exhausted range, and takes nothing', () => {
    const [live, waiting, unflushed] = [removing(few), removing(few), removing(few)];
    enterQuarantine(store, waiting, { floor_ms: 900 });
    enterQuarantine(store, unflushed, { floor_ms: 0 });
    const text = 'Cannot claim a slot of 7 to 9: 0 free, 1 live, 2 quarantined; ';
    expect(() => claim(store, [POOL], few)).toThrow(`${text}none is free before a removal or flush`);
    markFlushed(store, [waiting]);
    clock.monotonic += 100;
    expect(() => claim(store, [POOL], few)).toThrow(`${text}the next is free in 800 ms`);
    expect(listLeases(store).map(({ slot }) => slot)).toEqual([live.slot, waiting.slot, unflushed.slot]);
  });

  it('gives an owner one lease, and names it where another is asked for', () => {
    const owner = parseSandboxId('a1');
    const warm = claim(store, [POOL, { ...POOL, sandboxId: owner, specification: '{}' }], all)[0];
    if (warm === undefined) throw new Error('no lease');
    advance(store, warm, 'warm');
    const refusal = 'Cannot lease a slot to sandbox "a1": it holds slot 2 (generation 1, creating)';
    expect(() => assign(store, warm, owner, '{}')).toThrow(refusal);
    expect(() => claim(store, [{ ...POOL, sandboxId: owner, specification: '{}' }], all)).toThrow(refusal);
    assign(store, warm, parseSandboxId('a2'), '[2]');
    expect(listLeases(store)[0]).toMatchObject({
      slot: 1,
      generation: 1,
      state: 'ready',
      sandboxId: 'a2',
      specification: '[2]',
    });
  });

  it('leaves every slot its one lease when all 32767 are claimed', () => {
    const leases = claim(
      store,
      Array.from({ length: 32767 }, () => POOL),
      all,
    );
    expect(new Set(leases.map(({ slot }) => slot)).size).toBe(32767);
    expect(() => claim(store, [POOL], all)).toThrow('0 free, 32767 live, 0 quarantined');
  });
});

describe('the system clock', () => {
  it('is that of this boot, shared by its processes, and never goes back', () => {
    const one = systemClock();
    expect(one.bootId).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
    // Field 1 of /proc/uptime is CLOCK_BOOTTIME: the same but for suspend, which it counts.
    const before = one.monotonicMs();
    const uptimeMs = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;
    expect(before).toBeLessThanOrEqual(uptimeMs + 10);
    expect(one.monotonicMs()).toBeGreaterThanOrEqual(before);
  });
});
