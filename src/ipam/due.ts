import type { Store } from './store.ts';

/** When a quarantine of `floor_ms` from now ends, in ms of the monotonic clock. Rounded up here and down below. */
export function due(store: Store, floor_ms: number): number {
  return Math.ceil(store.clock.monotonicMs() + floor_ms);
}

/** The present, to compare with what `due` gave: never early. */
export function reached(store: Store): number {
  return Math.floor(store.clock.monotonicMs());
}

/**
 * How long until time alone frees one of the leases that `where` selects, 0 where `releaseDue` would; undefined where
 * none of them is flushed.
 */
export function nextDueMs(store: Store, where: string, ...values: number[]): number | undefined {
  const [row] = store.all(
    `SELECT min(due_mono_ms) AS due FROM lease
     WHERE state = 'quarantined' AND flush_verified = 1 AND boot_id = ? AND ${where}`,
    store.clock.bootId,
    ...values,
  );
  const dueMs = row?.['due'];
  return typeof dueMs === 'number' ? Math.max(0, dueMs - reached(store)) : undefined;
}

/** What `nextDueMs` found, in words. */
export function whenFree(nextFree_ms: number | undefined): string {
  return nextFree_ms === undefined ? 'none is free before a removal or flush' : `the next is free in ${nextFree_ms} ms`;
}
