import { CulvertError, InputError } from '../errors.ts';
import type { Generation, Lease, SandboxId, Slot } from './lease.ts';
import { nextDueMs } from './quarantine.ts';
import type { Store } from './store.ts';
import { assertNoLease } from './transition.ts';

/** Slots from `first` to `last`, both included. */
export interface SlotRange {
  readonly first: Slot;
  readonly last: Slot;
}

/** Fewer slots are free than were asked for; the counts are of the range asked. */
export class SlotsExhausted extends CulvertError {
  override readonly name = 'SlotsExhausted';
  readonly free: number;
  readonly live: number;
  readonly quarantined: number;
  /** How long until the quarantine lets one go; undefined where none has a verified flush, so that time frees none. */
  readonly nextFree_ms: number | undefined;

  constructor(
    wanted: number,
    range: SlotRange,
    counts: { free: number; live: number; quarantined: number; nextFree_ms: number | undefined },
  ) {
    const { free, live, quarantined, nextFree_ms } = counts;
    const next =
      nextFree_ms === undefined ? 'none is free before a removal or flush' : `the next is free in ${nextFree_ms} ms`;
    const found = `${free} free, ${live} live, ${quarantined} quarantined; ${next}`;
    const slots = wanted === 1 ? 'a slot' : `${wanted} slots`;
    super('slots_exhausted', `Cannot claim ${slots} of ${range.first} to ${range.last}: ${found}`);
    this.free = free;
    this.live = live;
    this.quarantined = quarantined;
    this.nextFree_ms = nextFree_ms;
  }
}

/**
 * Leases a slot of `range` to each owner (undefined: to the warm pool), all or none, those free the longest first.
 * When this returns outside of a transaction the leases are on disk, `creating`, each a generation on.
 *
 * @throws SlotsExhausted; InputError `invalid_count` for no owner or more than the range holds; CulvertError
 *   `sandbox_exists` where an owner holds a lease or stands twice
 */
export function claim(store: Store, owners: readonly (SandboxId | undefined)[], range: SlotRange): Lease[] {
  const size = range.last - range.first + 1;
  if (owners.length < 1 || owners.length > size) {
    const message = `Cannot claim ${owners.length} slots of ${range.first} to ${range.last}: want 1 to ${size}`;
    throw new InputError('invalid_count', message);
  }
  return store.transaction('full', () => {
    const free = store.all(
      `SELECT slot, generation FROM lease WHERE state = 'free' AND slot BETWEEN ? AND ?
       ORDER BY free_order, slot LIMIT ?`,
      range.first,
      range.last,
      owners.length,
    ) as unknown as { slot: Slot; generation: number }[];
    if (free.length < owners.length) throw exhausted(store, owners.length, free.length, range);
    return free.map((row, index) => take(store, row.slot, row.generation, owners[index]));
  });
}

function take(store: Store, slot: Slot, last: number, sandboxId: SandboxId | undefined): Lease {
  if (sandboxId !== undefined) assertNoLease(store, sandboxId);
  const { bootId } = store.clock;
  const sinceWallMs = Math.trunc(store.clock.wallMs());
  const generation = (last + 1) as Generation;
  const changed = store.run(
    `UPDATE lease SET state = 'creating', generation = ?, sandbox_id = ?, boot_id = ?, since_wall_ms = ?,
       free_order = NULL
     WHERE state = 'free' AND slot = ? AND generation = ?`,
    generation,
    sandboxId ?? null,
    bootId,
    sinceWallMs,
    slot,
    last,
  );
  if (changed !== 1) throw new CulvertError('lease_state', `Cannot claim slot ${slot}: it is no longer free`);
  return { slot, generation, state: 'creating', sandboxId, bootId, sinceWallMs, quarantine: undefined };
}

function exhausted(store: Store, wanted: number, free: number, range: SlotRange): SlotsExhausted {
  const [counts] = store.all(
    `SELECT count(*) AS held, count(*) FILTER (WHERE state = 'quarantined') AS quarantined
     FROM lease WHERE state <> 'free' AND slot BETWEEN ? AND ?`,
    range.first,
    range.last,
  );
  const quarantined = Number(counts?.['quarantined']);
  const live = Number(counts?.['held']) - quarantined;
  return new SlotsExhausted(wanted, range, { free, live, quarantined, nextFree_ms: nextDueMs(store, range) });
}
