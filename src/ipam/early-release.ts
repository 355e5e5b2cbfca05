import { CulvertError } from '../errors.ts';
import { reached } from './due.ts';
import type { Lease, Slot } from './lease.ts';
import type { Store } from './store.ts';
import { guarded, selectLeases } from './transition.ts';

const BY_HAND = 'released by hand';

/**
 * A person's decision that a quarantine has lasted long enough: its time is over now. With `force` it also counts as
 * flushed though nobody has seen that, so a flow of the last owner may reach the next; no part of Culvert does this by
 * itself.
 *
 * @throws CulvertError `lease_state` where the slot is not in quarantine, or is not flushed and `force` is not given
 */
export function releaseEarly(store: Store, slot: Slot, { force }: { readonly force: boolean }): Lease {
  return store.transaction('normal', () => {
    const [lease] = selectLeases(store, `state <> 'free' AND slot = ?`, slot);
    if (lease?.quarantine === undefined) {
      const found = lease === undefined ? 'it is free' : `it is ${lease.state}`;
      throw new CulvertError('lease_state', `Cannot release slot ${slot}: ${found}, not in quarantine`);
    }
    if (!lease.quarantine.flushVerified && !force) {
      const why = 'flows of its last owner may be left; force it if you know that none are';
      throw new CulvertError('lease_state', `Cannot release slot ${slot}: ${why}`);
    }
    const set = `UPDATE lease SET due_mono_ms = ?, flush_verified = 1, reason = ?
      WHERE state = 'quarantined'`;
    guarded(store, lease, 'release it', set, reached(store), BY_HAND);
    return selectLeases(store, `state = 'quarantined' AND slot = ?`, slot)[0] ?? lease;
  });
}

/** Whether a person has decided so. */
export function isReleasedEarly({ quarantine }: Lease): boolean {
  return quarantine?.reason === BY_HAND;
}
