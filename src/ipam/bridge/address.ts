import type { Ipv4 } from '../../addr/ipv4.ts';
import { CulvertError } from '../../errors.ts';
import type { Store } from '../store.ts';
import { assertRoom } from './usage.ts';

/** As in the index `bridge_free`, word for word. */
const FREE = 'held IS NULL AND conflict_mac IS NULL AND probed = 1';

/**
 * Marks addresses of the bridge held, those free the longest first, of those that the wire was asked about; in the same
 * transaction a lease must come to hold each of them.
 *
 * @throws BridgeExhausted; CulvertError `bridge_range_unset`
 */
export function takeAddresses(store: Store, wanted: number): Ipv4[] {
  if (wanted === 0) return [];
  const rows = store.all(
    `SELECT address FROM bridge_address WHERE ${FREE} ORDER BY free_order, address LIMIT ?`,
    wanted,
  ) as unknown as { address: Ipv4 }[];
  assertRoom(store, wanted, rows.length);
  for (const { address } of rows) {
    const set = `UPDATE bridge_address SET held = address, free_order = NULL WHERE address = ? AND ${FREE}`;
    changeOne(store, 'take', set, address);
  }
  return rows.map(({ address }) => address);
}

/**
 * The reverse: the last of them will be taken last, and none before the wire was asked again. In the same transaction
 * their leases must let go of them.
 */
export function returnAddresses(store: Store, addresses: readonly Ipv4[]): void {
  let order = lastOrder(store);
  for (const address of addresses) {
    const set = 'UPDATE bridge_address SET held = NULL, free_order = ?, probed = 0 WHERE held = ?';
    changeOne(store, 'return', set, ++order, address);
  }
}

/** The greatest place in the queue of free addresses. */
export function lastOrder(store: Store): number {
  const [row] = store.all(`SELECT max(free_order) AS last FROM bridge_address WHERE held IS NULL`);
  return Number(row?.['last'] ?? 0);
}

function changeOne(store: Store, attempt: string, update: string, ...values: number[]): void {
  if (store.run(update, ...values) === 1) return;
  throw new CulvertError('address_state', `Cannot ${attempt} bridge address ${values.join()}: its row says otherwise`);
}
