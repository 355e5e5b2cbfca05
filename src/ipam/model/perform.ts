import { deepStrictEqual, ok, throws } from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { CulvertError } from '../../errors.ts';
import { claim, type LeaseRequest, SlotsExhausted } from '../allocator.ts';
import { clearConflicts, listConflicts, recordConflict } from '../bridge/conflict.ts';
import { awaitingProbe, markProbed, unheldAddresses } from '../bridge/probe.ts';
import { bridgeRange, setBridgeRange } from '../bridge/range.ts';
import { BridgeExhausted, type BridgeUsage, bridgeUsage } from '../bridge/usage.ts';
import { type Lease, type LeaseKey, type SandboxId, TOPOLOGIES } from '../lease.ts';
import { awaitingFlush, enterQuarantine, markFlushed, onBoot, releaseDue, restAgain } from '../quarantine.ts';
import type { Store } from '../store.ts';
import { advance, assign, assignAll, findLease, listLeases, listWarm, updateSpecification } from '../transition.ts';
import type { Model } from './model.ts';
import { IDS, type Operation, SLOTS } from './operation.ts';
import { range, type World } from './world.ts';

function counts({ free, probing, live, quarantined, conflicts, nextFree_ms }: BridgeUsage): unknown[] {
  return [free, probing, live, quarantined, conflicts, nextFree_ms];
}

/** The result of `body`, or what tells its refusal. */
function outcome(body: () => unknown): unknown {
  try {
    return body();
  } catch (error) {
    if (error instanceof SlotsExhausted) {
      return [error.code, error.free, error.live, error.quarantined, error.nextFree_ms];
    }
    if (error instanceof BridgeExhausted) return [error.code, ...counts(error.usage)];
    if (error instanceof CulvertError) return error.code;
    throw error;
  }
}

const pairs = (leases: readonly LeaseKey[]): number[][] => leases.map(({ slot, generation }) => [slot, generation]);

function both(real: () => unknown, naive: () => unknown): void {
  deepStrictEqual(outcome(real), naive());
}

/** Does one operation on both sides and compares what each says of it. */
export function perform(world: World, step: Operation): void {
  const { store, model, clock } = world;
  const claimIn = (through: Store, requests: readonly LeaseRequest[]): unknown => {
    const leases = claim(through, requests, range);
    world.give(leases);
    return pairs(leases);
  };
  switch (step.do) {
    case 'claim':
      return both(
        () => claimIn(store, step.requests),
        () => model.claim(step.requests),
      );
    case 'claim elsewhere': {
      // Another connection, as of another process, between two steps of this one.
      using other = world.open();
      return both(
        () => claimIn(other, step.requests),
        () => model.claim(step.requests),
      );
    }
    case 'crash before the commit':
      return crashInside(world, step.requests);
    case 'claim while locked': {
      const other = new DatabaseSync(world.path());
      try {
        other.exec('BEGIN IMMEDIATE');
        return deepStrictEqual(
          outcome(() => claim(store, step.requests, range)),
          'store_locked',
        );
      } finally {
        other.close();
      }
    }
    case 'claim on a full disk': {
      const pageLimit = (pages: number): unknown => store.all(`PRAGMA max_page_count = ${pages}`);
      const [size] = store.all('PRAGMA page_count');
      pageLimit(Number(size?.['page_count']));
      const real = outcome(() => claimIn(store, step.requests));
      pageLimit(0xfffffffe);
      // Pages that an earlier specification left may be room enough.
      if (real !== 'store_full') return deepStrictEqual(real, model.claim(step.requests));
      return world.note('full disk');
    }
    case 'assign': {
      const all = step.to.flatMap(({ which, ...owner }) => {
        const key = world.key(which);
        return key === undefined ? [] : { key, ...owner };
      });
      const [only] = all;
      const real = (): void => {
        if (only?.to === 'ready' && all.length === 1) assign(store, only.key, only.sandboxId, only.specification);
        else assignAll(store, all);
      };
      return both(real, () => model.assign(all));
    }
    case 'hand out': {
      const warm = listWarm(store, step.topology, step.to.length);
      const all = warm.map((key, index) => ({ key, ...(step.to[index] as (typeof step.to)[number]) }));
      return both(
        () => assignAll(store, all),
        () => model.assign(all),
      );
    }
    case 'flush': {
      const keys = step.which.flatMap((index) => world.key(index) ?? []);
      return both(
        () => markFlushed(store, keys),
        () => model.flush(keys),
      );
    }
    case 'rest again': {
      const keys = step.which.flatMap((index) => world.key(index) ?? []);
      return both(
        () => restAgain(store, keys, { floor_ms: step.floor_ms }),
        () => model.restAgain(keys, step.floor_ms),
      );
    }
    case 'release':
      return both(
        () => pairs(releaseDue(store, step.limit)),
        () => model.release(step.limit),
      );
    case 'start':
      return both(
        () => pairs(onBoot(store)),
        () => model.start(),
      );
    case 'bridge range':
      return both(
        () => setBridgeRange(store, step.range),
        () => model.bridge.setRange(step.range),
      );
    case 'conflict':
      return both(
        () => recordConflict(store, step.address, step.seen),
        () => model.bridge.conflict(step.address, { ...step.seen, since: clock.wall }),
      );
    case 'probed clean':
      return both(
        () => clearConflicts(store, step.addresses),
        () => model.bridge.clear([...step.addresses]),
      );
    case 'probed': {
      const asked = awaitingProbe(store, step.limit).concat(step.late);
      return both(
        () => markProbed(store, asked),
        () => model.bridge.pass(asked),
      );
    }
    case 'time passes':
      clock.monotonic += step.ms;
      return undefined;
    case 'wall clock jumps':
      clock.wall += step.ms;
      return undefined;
    case 'boot':
      clock.bootId = `boot-${Number(clock.bootId.slice(5)) + 1}`;
      clock.monotonic = step.ms;
      return undefined;
    case 'reopen':
      store.close();
      world.store = world.open();
      return undefined;
    case 'crash':
      world.image();
      return world.revive();
    default: {
      const key = world.key(step.which);
      return key && onLease(world, key, step);
    }
  }
}

/** The steps of one lease. */
function onLease(
  { store, model }: World,
  key: LeaseKey,
  step: Extract<Operation, { do: 'advance' | 'specify' | 'quarantine' }>,
): void {
  switch (step.do) {
    case 'advance':
      return both(
        () => advance(store, key, step.to),
        () => model.advance(key, step.to),
      );
    case 'specify':
      return both(
        () => updateSpecification(store, key, step.specification),
        () => model.specify(key, step.specification),
      );
    case 'quarantine':
      return both(
        () => enterQuarantine(store, key, { floor_ms: step.floor_ms }),
        () => model.quarantine(key, step.floor_ms),
      );
  }
}

/** Dies after it wrote, and before its commit: the model is not told, for nothing of it may be left. */
function crashInside(world: World, requests: readonly LeaseRequest[]): void {
  const { store } = world;
  const dying = new Error('dying');
  const write = (): void => {
    onBoot(store);
    releaseDue(store, SLOTS);
    outcome(() => claim(store, requests, range));
    for (const topology of TOPOLOGIES) {
      const [key] = listWarm(store, topology, 1);
      if (key !== undefined) outcome(() => assign(store, key, IDS[0] as SandboxId, '{}'));
    }
    markProbed(store, awaitingProbe(store, SLOTS));
    clearConflicts(
      store,
      listConflicts(store).map(({ address }) => address),
    );
    world.image();
    throw dying;
  };
  throws(
    () => store.transaction('full', write),
    (error) => error === dying,
  );
  world.revive();
}

/** Compares everything that can be read, and what must hold whatever the model says. */
export function compare({ store, model }: World): void {
  const leases = listLeases(store);
  deepStrictEqual(leases.map(plain), model.list());
  const owned = leases.filter(({ state }) => state !== 'quarantined').flatMap(({ sandboxId }) => sandboxId ?? []);
  ok(new Set(owned).size === owned.length, `one owner holds two of ${owned.join(' ')}`);
  for (const id of IDS) deepStrictEqual(findLease(store, id)?.slot, model.owned(id)?.slot);
  for (const topology of TOPOLOGIES) {
    deepStrictEqual(
      listWarm(store, topology, SLOTS).map(({ slot }) => slot),
      model.warm(topology),
    );
  }
  compareBridge(store, model, leases);
  const unflushed = model.held.filter(({ waits }) => waits?.flushed === false).map(({ slot }) => slot);
  const awaiting = awaitingFlush(store, SLOTS).map(({ slot }) => slot);
  deepStrictEqual(
    awaiting.toSorted((one, other) => one - other),
    unflushed.toSorted((one, other) => one - other),
  );
}

function compareBridge(store: Store, model: Model, leases: readonly Lease[]): void {
  const addresses = leases.flatMap(({ bridgeAddress }) => bridgeAddress ?? []);
  ok(new Set(addresses).size === addresses.length, `one address is held twice of ${addresses.join(' ')}`);
  const { bridge } = model;
  deepStrictEqual(bridgeRange(store), bridge.range);
  if (bridge.range !== undefined) deepStrictEqual(counts(bridgeUsage(store)), model.usage());
  deepStrictEqual(awaitingProbe(store, 100), bridge.unprobed());
  deepStrictEqual(
    unheldAddresses(store),
    bridge.all().filter((address) => !bridge.held.has(address)),
  );
  const known = [...bridge.conflicts].map(([address, { mac, reason, since }]) => {
    const slot = leases.find(({ bridgeAddress }) => bridgeAddress === address)?.slot;
    return { address, mac, reason, sinceWallMs: since, slot };
  });
  deepStrictEqual(
    listConflicts(store),
    known.toSorted((one, other) => one.address - other.address),
  );
}

function plain({ sandboxId, bootId, sinceWallMs, quarantine, ...fields }: Lease): unknown {
  const waits = quarantine && { due: quarantine.dueMonotonicMs, flushed: quarantine.flushVerified };
  return { ...fields, owner: sandboxId, boot: bootId, since: sinceWallMs, quarantine: waits };
}
