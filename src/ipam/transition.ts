import type { SQLOutputValue } from 'node:sqlite';
import { formatIpv4, type Ipv4 } from '../addr/ipv4.ts';
import { CulvertError, InputError } from '../errors.ts';
import { assertSpecification, type Lease, type LeaseKey, type SandboxId, SLOT_MAX, type Topology } from './lease.ts';
import type { Store } from './store.ts';

const COLUMNS = `slot, generation, state, topology, sandbox_id, specification, bridge_address, boot_id,
  since_wall_ms, due_mono_ms, flush_verified, reason`;

/** Who holds a lease, and the JSON of what it asked for, at most SPECIFICATION_MAX bytes. */
export interface Owner {
  readonly sandboxId: SandboxId;
  readonly specification: string;
}

interface LeaseRow {
  readonly slot: Lease['slot'];
  readonly generation: Lease['generation'];
  readonly state: Lease['state'];
  readonly topology: Topology;
  readonly sandbox_id: SandboxId | null;
  readonly specification: string | null;
  readonly bridge_address: Ipv4 | null;
  readonly boot_id: string;
  readonly since_wall_ms: number;
  readonly due_mono_ms: number | null;
  readonly flush_verified: 0 | 1 | null;
  readonly reason: string | null;
}

/** Leases that `where` selects, in its order; `where` must exclude free slots. */
export function selectLeases(store: Store, where: string, ...values: (string | number)[]): Lease[] {
  const rows = store.all(`SELECT ${COLUMNS} FROM lease WHERE ${where}`, ...values) as unknown as LeaseRow[];
  return rows.map((row) => ({
    slot: row.slot,
    generation: row.generation,
    state: row.state,
    topology: row.topology,
    sandboxId: row.sandbox_id ?? undefined,
    specification: row.specification ?? undefined,
    bridgeAddress: row.bridge_address ?? undefined,
    bootId: row.boot_id,
    sinceWallMs: row.since_wall_ms,
    quarantine:
      row.due_mono_ms === null || row.reason === null
        ? undefined
        : { reason: row.reason, dueMonotonicMs: row.due_mono_ms, flushVerified: row.flush_verified === 1 },
  }));
}

/** Every slot that is not free, by slot. */
export function listLeases(store: Store): Lease[] {
  return selectLeases(store, `state <> 'free' ORDER BY slot`);
}

/** The lease that `sandboxId` holds now, be it on its way in or out; undefined where it holds none. */
export function findLease(store: Store, sandboxId: SandboxId): Lease | undefined {
  return selectLeases(store, `sandbox_id = ? AND state IN ('creating', 'ready', 'removing')`, sandboxId)[0];
}

/** No other answers at the lease's bridge address, if it has one. */
const NO_CONFLICT = `NOT EXISTS (SELECT 1 FROM bridge_address AS taken
  WHERE taken.address = lease.bridge_address AND taken.conflict_mac IS NOT NULL)`;

/** The leases of the warm pool that may be handed out, at most `limit`, those in it the longest first. */
export function listWarm(store: Store, topology: Topology, limit: number): Lease[] {
  const where = `state = 'warm' AND topology = ? AND ${NO_CONFLICT} ORDER BY warm_order LIMIT ?`;
  return selectLeases(store, where, topology, limit);
}

/** Steps that need nothing but the lease; the others have functions of their own. */
const STEPS = {
  warm: {
    from: `('creating') AND sandbox_id IS NULL`,
    // Last of its topology's queue. The wall clock would not do: it jumps.
    set: `, warm_order = 1 + coalesce((SELECT max(other.warm_order) FROM lease AS other
            WHERE other.state = 'warm' AND other.topology = lease.topology), 0)`,
  },
  ready: { from: `('creating') AND sandbox_id IS NOT NULL`, set: '' },
  removing: { from: `('creating', 'warm', 'ready')`, set: ', warm_order = NULL' },
} as const;

/**
 * Moves a lease of this boot on: `creating` to `warm` (no owner) or `ready` (an owner), any of these three to
 * `removing`.
 *
 * @throws CulvertError `lease_state` where the slot is not in that generation and a state before `to`: nothing changed
 */
export function advance(store: Store, key: LeaseKey, to: keyof typeof STEPS): void {
  const { from, set } = STEPS[to];
  const update = `UPDATE lease SET state = '${to}', since_wall_ms = ?${set} WHERE state IN ${from}`;
  store.statement(() => guarded(store, key, `make it ${to}`, update, Math.trunc(store.clock.wallMs())));
}

/** An owner for a warm lease. */
export interface Assignment extends Owner {
  readonly key: LeaseKey;
  /**
   * `ready` where all that is still to be done is to let it pass; `creating` where the network is to be changed for its
   * owner, who must not get it without.
   */
  readonly to: 'creating' | 'ready';
}

/**
 * Gives a warm lease an owner; it is `ready`. The generation stays: nobody has acted from this address in it.
 *
 * @throws CulvertError `lease_state` where the lease is not warm, or another answers at its bridge address;
 *   `sandbox_exists` where the owner holds another lease;
 *   InputError `invalid_specification`
 */
export function assign(store: Store, key: LeaseKey, sandboxId: SandboxId, specification: string): void {
  assignAll(store, [{ key, sandboxId, specification, to: 'ready' }]);
}

/**
 * Does what `assign` does for each, in one commit: all or none.
 *
 * @throws as `assign`; InputError `invalid_count` for none or more than there are slots
 */
export function assignAll(store: Store, assignments: readonly Assignment[]): void {
  if (assignments.length < 1 || assignments.length > SLOT_MAX) {
    const message = `Cannot assign ${assignments.length} warm leases: want 1 to ${SLOT_MAX}`;
    throw new InputError('invalid_count', message);
  }
  for (const { specification } of assignments) assertSpecification(specification);
  const set = `UPDATE lease SET state = ?, sandbox_id = ?, specification = ?, since_wall_ms = ?,
    warm_order = NULL WHERE state = 'warm' AND ${NO_CONFLICT}`;
  // Not for the disk to wait: its generation was given away when it was claimed, and that is on disk. With the power
  // goes the kernel's part of it too, and the next boot quarantines the lease, owner or not.
  store.transaction('normal', () => {
    const wallMs = Math.trunc(store.clock.wallMs());
    for (const { key, to, sandboxId, specification } of assignments) {
      assertNoLease(store, sandboxId);
      guarded(store, key, `assign it to ${JSON.stringify(sandboxId)}`, set, to, sandboxId, specification, wallMs);
    }
  });
}

/**
 * Records what the owner of a `ready` lease wants from now on; to be committed before the kernel is changed, as a
 * claim is.
 *
 * @throws CulvertError `lease_state` where the lease is not ready; InputError `invalid_specification`
 */
export function updateSpecification(store: Store, key: LeaseKey, specification: string): void {
  assertSpecification(specification);
  const set = `UPDATE lease SET specification = ? WHERE state = 'ready'`;
  store.statement(() => guarded(store, key, 'change its specification', set, specification));
}

/** @throws CulvertError `sandbox_exists` */
export function assertNoLease(store: Store, sandboxId: SandboxId): void {
  const held = findLease(store, sandboxId);
  if (held === undefined) return;
  const { slot, generation, state } = held;
  const holds = `it holds slot ${slot} (generation ${generation}, ${state})`;
  throw new CulvertError('sandbox_exists', `Cannot lease a slot to sandbox ${JSON.stringify(sandboxId)}: ${holds}`);
}

/**
 * Runs `update`, which names the states it expects, on this slot in this generation and boot alone.
 *
 * @throws CulvertError `lease_state` where that is not what the row holds
 */
export function guarded(
  store: Store,
  key: LeaseKey,
  attempt: string,
  update: string,
  ...values: (string | number)[]
): void {
  const where = `${update} AND slot = ? AND generation = ? AND boot_id = ?`;
  if (store.run(where, ...values, key.slot, key.generation, store.clock.bootId) === 1) return;
  const row = store.all(
    `SELECT generation, state, sandbox_id, boot_id, CASE WHEN NOT ${NO_CONFLICT} THEN bridge_address END AS conflict
     FROM lease WHERE slot = ?`,
    key.slot,
  )[0];
  const found = row === undefined ? 'no such slot' : describe(row, store.clock.bootId);
  const message = `Cannot ${attempt}: slot ${key.slot} (generation ${key.generation}) is ${found}`;
  throw new CulvertError('lease_state', message);
}

function describe(row: Record<string, SQLOutputValue>, bootId: string): string {
  const { state, generation, sandbox_id: owner, boot_id: boot, conflict } = row;
  const whose = owner === null ? 'of nobody' : `of sandbox ${JSON.stringify(owner)}`;
  const when = boot === null || boot === bootId ? '' : ', left from an earlier boot';
  const where = conflict === null ? '' : `, and another answers at its address ${formatIpv4(conflict as Ipv4)}`;
  return `${String(state)} ${whose}, generation ${String(generation)}${when}${where}`;
}
