import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Store } from '../store.ts';

/** The longest that a probe takes, in ms: a second's wait, three questions two seconds apart, two seconds' silence. */
export const PROBE_MS = 7000;

/** As in the index `bridge_unprobed`, word for word. */
const UNPROBED = 'held IS NULL AND conflict_mac IS NULL AND probed = 0';

/**
 * Free addresses that are not handed out yet: the wire has not been asked about them (RFC 5227) since they came into
 * the range or a lease let go of them. At most `limit`, those waiting the longest first.
 */
export function awaitingProbe(store: Store, limit: number): Ipv4[] {
  const rows = store.all(
    `SELECT address FROM bridge_address WHERE ${UNPROBED} ORDER BY free_order, address LIMIT ?`,
    limit,
  );
  return rows.map(({ address }) => address as Ipv4);
}

/**
 * Nobody answers at these: they may be handed out. What is said of one that a lease holds by now, or that is in
 * conflict, comes too late and changes nothing.
 */
export function markProbed(store: Store, addresses: readonly Ipv4[]): void {
  if (addresses.length === 0) return;
  const set = `UPDATE bridge_address SET probed = 1 WHERE address = ? AND ${UNPROBED}`;
  store.transaction('normal', () => {
    for (const address of addresses) store.run(set, address);
  });
}

/** Every address that no lease holds, by address: those free, those that wait for a probe and those in conflict. */
export function unheldAddresses(store: Store): Ipv4[] {
  const rows = store.all('SELECT address FROM bridge_address WHERE held IS NULL ORDER BY address');
  return rows.map(({ address }) => address as Ipv4);
}
