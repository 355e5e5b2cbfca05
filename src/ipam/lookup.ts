import type { Ipv4 } from '../addr/ipv4.ts';
import type { Lease, LeaseState, Slot } from './lease.ts';
import type { Store } from './store.ts';
import { selectLeases } from './transition.ts';

/** The lease of a slot, whatever its state; undefined where the slot is free. */
export function leaseOfSlot(store: Store, slot: Slot): Lease | undefined {
  return selectLeases(store, `state <> 'free' AND slot = ?`, slot)[0];
}

/** The lease that holds an address of the bridge, be it in quarantine; undefined where none does. */
export function leaseOfBridgeAddress(store: Store, address: Ipv4): Lease | undefined {
  return selectLeases(store, `state <> 'free' AND bridge_address = ?`, address)[0];
}

/** How many leases are in each state; of free slots nothing is counted. */
export function countLeases(store: Store): Partial<Record<LeaseState, number>> {
  const rows = store.all(`SELECT state, count(*) AS count FROM lease WHERE state <> 'free' GROUP BY state`);
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}
