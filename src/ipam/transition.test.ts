import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { InputError } from '../errors.ts';
import { claim } from './allocator.ts';
import { type Lease, parseSandboxId, parseSlot, type Topology } from './lease.ts';
import { openStore, type Store } from './store.ts';
import { advance, assign, assignAll, listLeases, listWarm, updateSpecification } from './transition.ts';

const range = { first: parseSlot(1), last: parseSlot(32767) };
const a = parseSandboxId('a');
const b = parseSandboxId('b');
const c = parseSandboxId('c');
let folder: string;
let clock: HandClock;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-transition-'));
  clock = new HandClock();
  store = openStore(join(folder, 'leases.db'), clock);
});
afterEach(() => {
  store[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** Warm leases of these topologies, in that order. */
function warm(...topologies: Topology[]): Lease[] {
  const requests = topologies.map((topology) => ({ topology }));
  const leases = claim(store, requests, range);
  for (const lease of leases) advance(store, lease, 'warm');
  return leases;
}

describe('the warm pool', () => {
  it('is a queue for each topology, which neither the wall clock nor a restart turns round', () => {
    const leases = claim(
      store,
      Array.from({ length: 3 }, () => ({ topology: 'netns' as const })),
      range,
    );
    for (const slot of [3, 1, 2]) {
      clock.wall -= 1000;
      const lease = leases.find((one) => one.slot === slot);
      if (lease !== undefined) advance(store, lease, 'warm');
    }
    warm('microvm');
    store.close();
    store = openStore(store.path, clock);
    expect(listWarm(store, 'netns', 9).map(({ slot }) => slot)).toEqual([3, 1, 2]);
    expect(listWarm(store, 'netns', 2).map(({ slot }) => slot)).toEqual([3, 1]);
    expect(listWarm(store, 'microvm', 9)).toEqual([
      expect.objectContaining({ slot: 4, topology: 'microvm', sandboxId: undefined, specification: undefined }),
    ]);
  });

  it('hands out several in one commit, or none', () => {
    const [one, two] = warm('netns', 'netns') as [Lease, Lease];
    const to = 'ready' as const;
    const first = { key: one, to, sandboxId: a, specification: '{"n":1}' };
    const before = listLeases(store);
    for (const second of [
      { key: one, to, sandboxId: b, specification: '{}' },
      { key: two, to, sandboxId: a, specification: '{}' },
      { key: two, to, sandboxId: b, specification: 'no JSON' },
    ]) {
      expect(() => assignAll(store, [first, second])).toThrow(/^Cannot /);
      expect(listLeases(store)).toEqual(before);
    }
    expect(() => assignAll(store, [])).toThrow(InputError);
    assignAll(store, [first, { key: two, to: 'creating', sandboxId: b, specification: '{"n":2}' }]);
    expect(listLeases(store)).toEqual([
      { ...before[0], state: 'ready', sandboxId: 'a', specification: '{"n":1}' },
      { ...before[1], state: 'creating', sandboxId: 'b', specification: '{"n":2}' },
    ]);
    expect(listWarm(store, 'netns', 9)).toEqual([]);
  });
});

describe('a specification', () => {
  it('is kept as it was written, and changes only while the lease is ready', () => {
    const text = '{ "policy" : "é" }';
    const [lease] = claim(store, [{ topology: 'microvm', sandboxId: c, specification: text }], range) as [Lease];
    expect(lease.specification).toBe(text);
    expect(listLeases(store)).toEqual([lease]);
    expect(() => updateSpecification(store, lease, '{}')).toThrow(
      'Cannot change its specification: slot 1 (generation 1) is creating of sandbox "c", generation 1',
    );
    advance(store, lease, 'ready');
    expect(() => updateSpecification(store, lease, '')).toThrow(InputError);
    updateSpecification(store, lease, '[1]');
    expect(listLeases(store)).toEqual([{ ...lease, state: 'ready', specification: '[1]' }]);
  });

  it('that is no JSON leaves neither a claim nor an assignment', () => {
    const [lease] = warm('netns') as [Lease];
    const wrong = 'x'.repeat(20_000);
    const text = 'Cannot keep a specification of 20000 bytes: want at most 16384';
    expect(() => assign(store, lease, a, wrong)).toThrow(text);
    expect(() => claim(store, [{ topology: 'netns', sandboxId: b, specification: wrong }], range)).toThrow(text);
    expect(listLeases(store)).toEqual([{ ...lease, state: 'warm' }]);
  });
});
