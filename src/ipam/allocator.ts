import type { Ipv4 } from '../addr/ipv4.ts';
import { CulvertError, InputError } from '../errors.ts';
import { takeAddresses } from './bridge/address.ts';
import { nextDueMs, whenFree } from './due.ts';
import { assertSpecification, type Generation, type Lease, type Slot, type Topology } from './lease.ts';
import type { Store } from './store.ts';
import { assertNoLease, type Owner } from './transition.ts';

/** Slots from `first` to `last`, both included. */
export interface SlotRange {
  readonly first: Slot;
  readonly last: Slot;
}

/** A network of `topology` for an owner, or for the warm pool. */
export type LeaseRequest = { readonly topology: Topology } & (
  | Owner
  | { readonly sandboxId?: undefined; readonly specification?: undefined }
);

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
    const found = `${free} free, ${live} live, ${quarantined} quarantined; ${whenFree(nextFree_ms)}`;
    const slots = wanted === 1 ? 'a slot' : `${wanted} slots`;
    super('slots_exhausted', `Cannot claim ${slots} of ${range.first} to ${range.last}: ${found}`);
    this.free = free;
    this.live = live;
    this.quarantined = quarantined;
    this.nextFree_ms = nextFree_ms;
  }
}

/**
 * Leases a slot of `range` for each request, and an address of the bridge where its topology is that, all or none,
 * those free the longest first. When this returns outside of
 * a transaction the leases are on disk, `creating`, each a generation on.
 *
 * @throws SlotsExhausted; BridgeExhausted; InputError `invalid_count` for no request or more than the range holds,
 *   `invalid_specification`; CulvertError `sandbox_exists` where an owner holds a lease or stands twice,
 *   `bridge_range_unset`
 */
export function claim(store: Store, requests: readonly LeaseRequest[], range: SlotRange): Lease[] {
  const size = range.last - range.first + 1;
  if (requests.length < 1 || requests.length > size) {
    const message = `Cannot claim ${requests.length} slots of ${range.first} to ${range.last}: want 1 to ${size}`;
    throw new InputError('invalid_count', message);
  }
  for (const { specification } of requests) if (specification !== undefined) assertSpecification(specification);
  return store.transaction('full', () => {
    // The plus keeps SQLite from walking all slots of the range to sort them: in the order of the index it can stop.
    const free = store.all(
      `SELECT slot, generation FROM lease WHERE state = 'free' AND +slot BETWEEN ? AND ?
       ORDER BY free_order, slot LIMIT ?`,
      range.first,
      range.last,
      requests.length,
    ) as unknown as FreeSlot[];
    if (free.length < requests.length) throw exhausted(store, requests.length, free.length, range);
    const addresses = takeAddresses(store, requests.filter(({ topology }) => topology === 'bridge').length);
    return requests.map((request, index) =>
      take(store, free[index] as FreeSlot, request, request.topology === 'bridge' ? addresses.shift() : undefined),
    );
  });
}

interface FreeSlot {
  readonly slot: Slot;
  /** Of its last life; 0 where it had none. */
  readonly generation: number;
}

function take(store: Store, free: FreeSlot, request: LeaseRequest, bridgeAddress: Ipv4 | undefined): Lease {
  const { topology, sandboxId, specification } = request;
  if (sandboxId !== undefined) assertNoLease(store, sandboxId);
  const { slot } = free;
  const { bootId } = store.clock;
  const sinceWallMs = Math.trunc(store.clock.wallMs());
  const generation = (free.generation + 1) as Generation;
  // SQLite writes an index anew for each column that is set, even to what it was, and every free slot is in this one.
  const address = bridgeAddress === undefined ? '' : 'bridge_address = ?, ';
  const changed = store.run(
    `UPDATE lease SET ${address}state = 'creating', generation = ?, topology = ?, sandbox_id = ?, specification = ?,
       boot_id = ?, since_wall_ms = ?, free_order = NULL
     WHERE state = 'free' AND slot = ? AND generation = ?`,
    ...(bridgeAddress === undefined ? [] : [bridgeAddress]),
    generation,
    topology,
    sandboxId ?? null,
    specification ?? null,
    bootId,
    sinceWallMs,
    slot,
    free.generation,
  );
  if (changed !== 1) throw new CulvertError('lease_state', `Cannot claim slot ${slot}: it is no longer free`);
  return {
    slot,
    generation,
    state: 'creating',
    topology,
    sandboxId,
    specification,
    bridgeAddress,
    bootId,
    sinceWallMs,
    quarantine: undefined,
  };
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
  const nextFree_ms = nextDueMs(store, 'slot BETWEEN ? AND ?', range.first, range.last);
  return new SlotsExhausted(wanted, range, { free, live, quarantined, nextFree_ms });
}
