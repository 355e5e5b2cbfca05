import { deepStrictEqual, ok, throws } from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CulvertError } from '../errors.ts';
import { claim, SlotsExhausted } from './allocator.ts';
import { type Lease, type LeaseKey, parseSandboxId, parseSlot, type SandboxId } from './lease.ts';
import { HandClock, Model } from './model.ts';
import { awaitingFlush, enterQuarantine, markFlushed, onBoot, releaseDue } from './quarantine.ts';
import { openStore, type Store } from './store.ts';
import { advance, assign, findLease, listLeases } from './transition.ts';

const SLOTS = 8;
const RUNS = 40;
const OPERATIONS = 500;
const IDS = ['a', 'b', 'c-1', 'd', '0'].map((id) => parseSandboxId(id));
const range = { first: parseSlot(1), last: parseSlot(SLOTS) };

type Owner = SandboxId | undefined;
type Operation =
  | { readonly do: 'claim' | 'claim, crash before the commit' | 'claim while locked'; readonly owners: Owner[] }
  | { readonly do: 'advance'; readonly which: number; readonly to: 'warm' | 'ready' | 'removing' }
  | { readonly do: 'assign'; readonly which: number; readonly owner: SandboxId }
  | { readonly do: 'quarantine'; readonly which: number; readonly floor_ms: number }
  | { readonly do: 'flush'; readonly which: number[] }
  | { readonly do: 'release'; readonly limit: number }
  | { readonly do: 'time passes' | 'wall clock jumps' | 'boot'; readonly ms: number }
  | { readonly do: 'start' | 'reopen' | 'crash' };

// Small numbers are the latest leases, so that most steps find the state they want and some find a lease long gone.
const which = fc.integer({ min: 0, max: 11 });
const owners = fc.array(fc.option(fc.constantFrom(...IDS), { nil: undefined }), { minLength: 1, maxLength: 4 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 50, arbitrary: fc.record({ do: fc.constant('claim'), owners }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('claim'), owners: fc.constantFrom([], Array(SLOTS + 1)) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('claim, crash before the commit'), owners }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('claim while locked'), owners }) },
  {
    weight: 110,
    arbitrary: fc.record({ do: fc.constant('advance'), which, to: fc.constantFrom('warm', 'ready', 'removing') }),
  },
  { weight: 20, arbitrary: fc.record({ do: fc.constant('assign'), which, owner: fc.constantFrom(...IDS) }) },
  {
    weight: 60,
    arbitrary: fc.record({ do: fc.constant('quarantine'), which, floor_ms: fc.integer({ min: 0, max: 2000 }) }),
  },
  { weight: 50, arbitrary: fc.record({ do: fc.constant('flush'), which: fc.array(which, { maxLength: 2 }) }) },
  { weight: 40, arbitrary: fc.record({ do: fc.constant('release'), limit: fc.integer({ min: 1, max: SLOTS }) }) },
  { weight: 40, arbitrary: fc.record({ do: fc.constant('time passes'), ms: fc.integer({ min: -300, max: 1500 }) }) },
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant('wall clock jumps'), ms: fc.integer({ min: -1e11, max: 1e11 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('boot'), ms: fc.integer({ min: 0, max: 5000 }) }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant('start') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('reopen', 'crash') }) },
) as fc.Arbitrary<Operation>;

let folder: string;
let template: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-model-'));
  template = join(folder, 'template.db');
  openStore(template, new HandClock()).close();
  // The check at each start reads every slot there is; those of the range are enough here.
  const database = new DatabaseSync(template);
  database.exec(`DELETE FROM lease WHERE slot > ${SLOTS}; VACUUM`);
  database.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The store under test, the keys it ever gave out, and the ways its process can die. */
class World implements Disposable {
  readonly clock = new HandClock();
  readonly model = new Model(this.clock, SLOTS);
  readonly keys: LeaseKey[] = [];
  store: Store;
  readonly #base: string;
  #life = 0;

  constructor(base: string) {
    this.#base = base;
    copyFileSync(template, this.path());
    this.store = this.open();
  }

  path(livesOn = 0): string {
    return `${this.#base}-${this.#life + livesOn}.db`;
  }

  open(): Store {
    return openStore(this.path(), this.clock, { busyTimeout_ms: 0 });
  }

  /** Keeps the files as the kernel has them now, which is what SIGKILL leaves. */
  image(): void {
    for (const suffix of ['', '-wal']) copyFileSync(`${this.path()}${suffix}`, `${this.path(1)}${suffix}`);
  }

  /** Goes on with the image, as the next life. */
  revive(): void {
    this.store.close();
    rmSync(this.path());
    this.#life += 1;
    this.store = this.open();
  }

  /** Nothing was ever given out in the same life twice. */
  give(leases: readonly LeaseKey[]): void {
    for (const { slot, generation } of leases) {
      ok(
        this.keys.every((key) => key.slot !== slot || key.generation < generation),
        `slot ${slot} went back`,
      );
    }
    this.keys.push(...leases);
  }

  key(index: number): LeaseKey | undefined {
    return this.keys.at(-1 - index);
  }

  [Symbol.dispose](): void {
    this.store[Symbol.dispose]();
    rmSync(this.path(), { force: true });
  }
}

/** The result of `body`, or what tells its refusal. */
function outcome(body: () => unknown): unknown {
  try {
    return body();
  } catch (error) {
    if (error instanceof SlotsExhausted) {
      return [error.code, error.free, error.live, error.quarantined, error.nextFree_ms];
    }
    if (error instanceof CulvertError) return error.code;
    throw error;
  }
}

const pairs = (leases: readonly LeaseKey[]): number[][] => leases.map(({ slot, generation }) => [slot, generation]);

function both(real: () => unknown, naive: () => unknown): void {
  deepStrictEqual(outcome(real), naive());
}

/** Does one operation on both sides and compares what each says of it. */
function perform(world: World, step: Operation): void {
  const { store, model, clock } = world;
  const on = (index: number, body: (key: LeaseKey) => void): void => {
    const key = world.key(index);
    if (key !== undefined) body(key);
  };
  switch (step.do) {
    case 'claim': {
      const real = (): unknown => {
        const leases = claim(store, step.owners, range);
        world.give(leases);
        return pairs(leases);
      };
      return both(real, () => model.claim(step.owners));
    }
    case 'claim, crash before the commit': {
      const dying = new Error('dying');
      const die = (): void => {
        outcome(() => claim(store, step.owners, range));
        world.image();
        throw dying;
      };
      throws(
        () => store.transaction('full', die),
        (error) => error === dying,
      );
      return world.revive();
    }
    case 'claim while locked': {
      const other = new DatabaseSync(world.path());
      try {
        other.exec('BEGIN IMMEDIATE');
        return deepStrictEqual(
          outcome(() => claim(store, step.owners, range)),
          'store_locked',
        );
      } finally {
        other.close();
      }
    }
    case 'advance':
      return on(step.which, (key) =>
        both(
          () => advance(store, key, step.to),
          () => model.advance(key, step.to),
        ),
      );
    case 'assign':
      return on(step.which, (key) =>
        both(
          () => assign(store, key, step.owner),
          () => model.assign(key, step.owner),
        ),
      );
    case 'quarantine':
      return on(step.which, (key) =>
        both(
          () => enterQuarantine(store, key, { floor_ms: step.floor_ms }),
          () => model.quarantine(key, step.floor_ms),
        ),
      );
    case 'flush': {
      const keys = step.which.flatMap((index) => world.key(index) ?? []);
      return both(
        () => markFlushed(store, keys),
        () => model.flush(keys),
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
  }
}

/** Compares everything that can be read, and what must hold whatever the model says. */
function compare({ store, model }: World): void {
  const leases = listLeases(store);
  deepStrictEqual(leases.map(plain), model.list());
  const owned = leases.filter(({ state }) => state !== 'quarantined').flatMap(({ sandboxId }) => sandboxId ?? []);
  ok(new Set(owned).size === owned.length, `one owner holds two of ${owned.join(' ')}`);
  for (const id of IDS) deepStrictEqual(findLease(store, id)?.slot, model.owned(id)?.slot);
  const unflushed = model.held.filter(({ waits }) => waits?.flushed === false).map(({ slot }) => slot);
  const awaiting = awaitingFlush(store, SLOTS).map(({ slot }) => slot);
  deepStrictEqual(
    awaiting.toSorted((one, other) => one - other),
    unflushed.toSorted((one, other) => one - other),
  );
}

function plain({ slot, generation, state, sandboxId, bootId, sinceWallMs, quarantine }: Lease): unknown {
  const waits = quarantine && { due: quarantine.dueMonotonicMs, flushed: quarantine.flushVerified };
  return { slot, generation, state, owner: sandboxId, boot: bootId, since: sinceWallMs, quarantine: waits };
}

describe('the store', () => {
  it(`does what a naive model does, over ${RUNS * OPERATIONS} operations`, { timeout: 120_000 }, () => {
    let run = 0;
    const reached = new Map<string, number>();
    const operations = fc.array(operation, { minLength: OPERATIONS, maxLength: OPERATIONS });
    fc.assert(
      fc.property(operations, (steps) => {
        run += 1;
        using world = new World(join(folder, `run-${run}`));
        for (const [index, step] of steps.entries()) {
          try {
            perform(world, step);
            compare(world);
          } catch (cause) {
            const last = steps.slice(Math.max(0, index - 9), index + 1).map((one) => JSON.stringify(one));
            throw new Error(`Operation ${index} differs, the last of\n${last.join('\n')}`, { cause });
          }
          for (const { state } of world.model.held) reached.set(state, (reached.get(state) ?? 0) + 1);
        }
        reached.set('lives', (reached.get('lives') ?? 0) + world.keys.length);
      }),
      // Runs of one length cannot be made shorter, and smaller numbers in them explain nothing.
      { numRuns: RUNS, endOnFailure: true },
    );
    // A run that seldom gets past the first claims would prove little.
    expect([...reached.keys()].toSorted()).toEqual(['creating', 'lives', 'quarantined', 'ready', 'removing', 'warm']);
    expect(reached.get('lives')).toBeGreaterThan(RUNS * SLOTS * 2);
  });
});
