import type { Ipv4 } from '../addr/ipv4.ts';
import type { Lease, Slot } from './lease.ts';
import type { Store } from './store.ts';
import { selectLeases } from './transition.ts';

/** The lease of a slot, whatever its state; undefined where the slot is free. */
export function leaseOfSlot(store: Store, slot: Slot): Lease | undefined {
  return selectLeases(store, `state <> 'free' AND slot = ?`, slot)[0];
}

/** The leases of slots from `first` to `last`, by slot; none where a slot is free. */
export function leasesOfSlots(store: Store, first: Slot, last: Slot): Lease[] {
  return selectLeases(store, `state <> 'free' AND slot BETWEEN ? AND ? ORDER BY slot`, first, last);
}

/** The lease that holds an address of the bridge, be it in quarantine; undefined where none does. */
export function leaseOfBridgeAddress(store: Store, address: Ipv4): Lease | undefined {
  return selectLeases(store, `state <> 'free' AND bridge_address = ?`, address)[0];
}

/** The slots whose leases were neither on their way in nor out when they were last written. */
export function listSettled(store: Store): Slot[] {
  return store
    .all(`SELECT slot FROM lease WHERE state <> 'free' AND state IN ('warm', 'ready')`)
    .map(({ slot }) => slot as Slot);
}

/** What an index of no others tells; a count of all states would read every lease. */
export function countQuarantined(store: Store): number {
  const [row] = store.all(`SELECT count(*) AS count FROM lease WHERE state = 'quarantined'`);
  return Number(row?.['count']);
}

export function hasQuarantined(store: Store): boolean {
  return store.all(`SELECT 1 FROM lease WHERE state = 'quarantined' LIMIT 1`).length > 0;
}
