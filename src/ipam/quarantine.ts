import { InputError } from '../errors.ts';
import { returnAddresses } from './bridge/address.ts';
import { due, reached } from './due.ts';
import { assertReason, type Lease, type LeaseKey } from './lease.ts';
import type { Store } from './store.ts';
import { guarded, selectLeases } from './transition.ts';

const FLOOR_DEFAULT_MS = 1000;
const FLOOR_MAX_MS = 86_400_000;

interface QuarantineTerms {
  /** The least time in quarantine, 0 to 86,400,000; the row keeps it, so a later, smaller one shortens nothing. */
  readonly floor_ms?: number;
  /** For people, 1 to REASON_MAX characters. */
  readonly reason?: string;
}

/**
 * `removing` to `quarantined`, once every kernel object of the lease is verified gone.
 *
 * @throws CulvertError `lease_state`; InputError `invalid_floor`, `invalid_reason`
 */
export function enterQuarantine(store: Store, key: LeaseKey, terms: QuarantineTerms = {}): void {
  const { floor_ms, reason } = parseTerms(terms, 'removed');
  const set = `UPDATE lease SET state = 'quarantined', due_mono_ms = ?, flush_verified = 0, reason = ?,
    since_wall_ms = ? WHERE state = 'removing'`;
  store.statement(() => guarded(store, key, 'quarantine it', set, due(store, floor_ms), reason, wallNow(store)));
}

/**
 * Records that no conntrack entry of these addresses is left, all or none.
 *
 * @throws CulvertError `lease_state` where one is not quarantined in that generation
 */
export function markFlushed(store: Store, keys: readonly LeaseKey[]): void {
  const set = `UPDATE lease SET flush_verified = 1 WHERE state = 'quarantined'`;
  store.transaction('normal', () => {
    for (const key of keys) guarded(store, key, 'mark it flushed', set);
  });
}

/** The quarantined leases whose flush is not verified, at most `limit`, those due first first. */
export function awaitingFlush(store: Store, limit: number): Lease[] {
  return selectLeases(store, `state = 'quarantined' AND flush_verified = 0 ORDER BY due_mono_ms, slot LIMIT ?`, limit);
}

/**
 * For leases whose time is over while somebody still sends to their addresses or from them: they rest for another floor.
 *
 * @throws CulvertError `lease_state` where one is not quarantined in that generation; InputError `invalid_floor`,
 *   `invalid_reason`
 */
export function restAgain(store: Store, keys: readonly LeaseKey[], terms: QuarantineTerms = {}): void {
  const { floor_ms, reason } = parseTerms(terms, 'removed, and its address is still in use');
  const set = `UPDATE lease SET due_mono_ms = ?, reason = ? WHERE state = 'quarantined'`;
  store.transaction('normal', () => {
    for (const key of keys) guarded(store, key, 'let it rest again', set, due(store, floor_ms), reason);
  });
}

/**
 * Frees the quarantined slots of this boot that are flushed and past their time, at most `limit`, the longest due
 * first, each with its bridge address, and returns what their leases were. An address in conflict stays so.
 *
 * @param which of them
 */
export function releaseDue(store: Store, limit: number, which: (lease: Lease) => boolean = () => true): Lease[] {
  // asked for fifty times a second, and mostly for nothing: a transaction takes longer than the question
  if (dueLeases(store, 1).length === 0) return [];
  return store.transaction('normal', () => {
    const leases = dueLeases(store, limit).filter(which);
    const [last] = store.all(`SELECT max(free_order) AS free_order FROM lease WHERE state = 'free'`);
    let order = Number(last?.['free_order'] ?? 0);
    const set = `state = 'free', topology = NULL, sandbox_id = NULL, specification = NULL, boot_id = NULL,
      due_mono_ms = NULL, flush_verified = NULL, reason = NULL, since_wall_ms = ?, free_order = ?`;
    for (const lease of leases) {
      // as in a claim: an index that a lease is not part of is not to be written
      const address = lease.bridgeAddress === undefined ? '' : 'bridge_address = NULL, ';
      const update = `UPDATE lease SET ${address}${set} WHERE state = 'quarantined'`;
      guarded(store, lease, 'free it', update, wallNow(store), ++order);
    }
    returnAddresses(
      store,
      leases.flatMap(({ bridgeAddress }) => bridgeAddress ?? []),
    );
    return leases;
  });
}

/** The quarantined leases that {@link releaseDue} frees, at most `limit`. */
export function dueLeases(store: Store, limit: number): Lease[] {
  return selectLeases(
    store,
    `state = 'quarantined' AND flush_verified = 1 AND boot_id = ? AND due_mono_ms <= ?
     ORDER BY due_mono_ms, slot LIMIT ?`,
    store.clock.bootId,
    reached(store),
    limit,
  );
}

/**
 * To be called at start, before anything else: every lease of another boot enters quarantine in this one, flushed,
 * since its links and conntrack entries died with that kernel. Monotonic times of the two boots cannot be compared, so
 * each waits for the whole floor. Generations stay. Returns the leases as they were.
 *
 * @throws InputError `invalid_floor`, `invalid_reason`
 */
export function onBoot(store: Store, terms: QuarantineTerms = {}): Lease[] {
  const { floor_ms, reason } = parseTerms(terms, 'the host was booted');
  const { bootId } = store.clock;
  return store.transaction('normal', () => {
    const lost = selectLeases(store, `state <> 'free' AND boot_id <> ? ORDER BY slot`, bootId);
    store.run(
      `UPDATE lease SET state = 'quarantined', boot_id = ?, due_mono_ms = ?, flush_verified = 1, reason = ?,
         since_wall_ms = ?, warm_order = NULL WHERE state <> 'free' AND boot_id <> ?`,
      bootId,
      due(store, floor_ms),
      reason,
      wallNow(store),
      bootId,
    );
    return lost;
  });
}

function wallNow(store: Store): number {
  return Math.trunc(store.clock.wallMs());
}

function parseTerms(terms: QuarantineTerms, otherwise: string): Required<QuarantineTerms> {
  const { floor_ms = FLOOR_DEFAULT_MS, reason = otherwise } = terms;
  if (!Number.isInteger(floor_ms) || floor_ms < 0 || floor_ms > FLOOR_MAX_MS) {
    const want = `want an integer from 0 to ${FLOOR_MAX_MS} ms`;
    throw new InputError('invalid_floor', `Cannot quarantine for ${floor_ms} ms: ${want}`, { field: 'floor_ms' });
  }
  assertReason(reason);
  return { floor_ms, reason };
}
