import type { SQLOutputValue } from 'node:sqlite';
import { CulvertError } from '../errors.ts';
import type { Lease, LeaseKey, SandboxId } from './lease.ts';
import type { Store } from './store.ts';

const COLUMNS = 'slot, generation, state, sandbox_id, boot_id, since_wall_ms, due_mono_ms, flush_verified, reason';

interface LeaseRow {
  readonly slot: Lease['slot'];
  readonly generation: Lease['generation'];
  readonly state: Lease['state'];
  readonly sandbox_id: SandboxId | null;
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
    sandboxId: row.sandbox_id ?? undefined,
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

/** Steps that need nothing but the lease; `assign`, `claim` and quarantine have files or functions of their own. */
const STEPS = {
  warm: { from: `('creating')`, and: 'AND sandbox_id IS NULL' },
  ready: { from: `('creating')`, and: 'AND sandbox_id IS NOT NULL' },
  removing: { from: `('creating', 'warm', 'ready')`, and: '' },
} as const;

/**
 * Moves a lease of this boot on: `creating` to `warm` (no owner) or `ready` (an owner), any of these three to
 * `removing`.
 *
 * @throws CulvertError `lease_state` where the slot is not in that generation and a state before `to`: nothing changed
 */
export function advance(store: Store, key: LeaseKey, to: keyof typeof STEPS): void {
  const { from, and } = STEPS[to];
  const set = `UPDATE lease SET state = '${to}', since_wall_ms = ? WHERE state IN ${from} ${and}`;
  store.transaction('normal', () => guarded(store, key, `make it ${to}`, set, Math.trunc(store.clock.wallMs())));
}

/**
 * Gives a warm lease an owner; it is `creating` again until the owner's part of it stands in the kernel. The
 * generation stays: nobody has acted from this address in it.
 *
 * @throws CulvertError `lease_state` where the lease is not warm; `sandbox_exists` where the owner holds another lease
 */
export function assign(store: Store, key: LeaseKey, sandboxId: SandboxId): void {
  store.transaction('full', () => {
    assertNoLease(store, sandboxId);
    const set = `UPDATE lease SET state = 'creating', sandbox_id = ?, since_wall_ms = ? WHERE state = 'warm'`;
    guarded(store, key, `assign it to ${JSON.stringify(sandboxId)}`, set, sandboxId, Math.trunc(store.clock.wallMs()));
  });
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
  const row = store.all('SELECT generation, state, sandbox_id, boot_id FROM lease WHERE slot = ?', key.slot)[0];
  const found = row === undefined ? 'no such slot' : describe(row, store.clock.bootId);
  const message = `Cannot ${attempt}: slot ${key.slot} (generation ${key.generation}) is ${found}`;
  throw new CulvertError('lease_state', message);
}

function describe(row: Record<string, SQLOutputValue>, bootId: string): string {
  const { state, generation, sandbox_id: owner, boot_id: boot } = row;
  const whose = owner === null ? 'of nobody' : `of sandbox ${JSON.stringify(owner)}`;
  const when = boot === null || boot === bootId ? '' : ', left from an earlier boot';
  return `${String(state)} ${whose}, generation ${String(generation)}${when}`;
}
