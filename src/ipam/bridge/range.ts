import { addIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { firstAddress, formatPrefix, lastAddress, type Prefix } from '../../addr/prefix.ts';
import { CulvertError, InputError } from '../../errors.ts';
import { BRIDGE_LENGTH } from '../schema.ts';
import type { Store } from '../store.ts';

/** The addresses that sandboxes may have: all but the network's, the gateway's after it, and the broadcast's. */
export function hostsOf(range: Prefix): { first: Ipv4; last: Ipv4 } {
  return { first: addIpv4(firstAddress(range), 2), last: addIpv4(lastAddress(range), -1) };
}

/** The range that the addresses of the bridge come from; undefined before the first `setBridgeRange`. */
export function bridgeRange(store: Store): Prefix | undefined {
  const [row] = store.all('SELECT address, prefix_length AS length FROM bridge_range');
  return row && { address: row['address'] as Ipv4, length: row['length'] as number };
}

/**
 * Makes `range` the one that the addresses of the bridge come from; to be called at each start. Addresses that it
 * shares with the one before keep their place in the queue, and their conflicts; the others wait for a probe.
 *
 * @throws InputError `invalid_bridge_range` for a length outside of 20 to 30; CulvertError `bridge_range_held` where
 *   leases, be it in quarantine, hold addresses of another range: nothing changed
 */
export function setBridgeRange(store: Store, range: Prefix): void {
  const { min, max } = BRIDGE_LENGTH;
  if (!Number.isInteger(range.length) || range.length < min || range.length > max) {
    const message = `Cannot use ${formatPrefix(range)} as the bridge range: want a prefix length of ${min} to ${max}`;
    throw new InputError('invalid_bridge_range', message, { field: 'bridgeRange' });
  }
  store.transaction('normal', () => {
    const before = bridgeRange(store);
    if (before?.address === range.address && before.length === range.length) return;
    if (before !== undefined) assertNoneHeld(store, before, range);
    const { first, last } = hostsOf(range);
    store.run('INSERT OR REPLACE INTO bridge_range VALUES (1, ?, ?)', range.address, range.length);
    store.run('DELETE FROM bridge_address WHERE address NOT BETWEEN ? AND ?', first, last);
    store.run(
      `INSERT OR IGNORE INTO bridge_address (address, free_order, probed)
         WITH RECURSIVE n (address) AS (VALUES (?) UNION ALL SELECT address + 1 FROM n WHERE address < ?)
         SELECT address, 0, 0 FROM n`,
      first,
      last,
    );
  });
}

function assertNoneHeld(store: Store, before: Prefix, range: Prefix): void {
  const [counts] = store.all(
    `SELECT count(*) AS held, count(*) FILTER (WHERE state = 'quarantined') AS quarantined
     FROM lease WHERE bridge_address IS NOT NULL`,
  );
  const held = Number(counts?.['held']);
  if (held === 0) return;
  const quarantined = Number(counts?.['quarantined']);
  const found = `${held - quarantined} live and ${quarantined} quarantined leases hold addresses of it`;
  const what = `Cannot change the bridge range from ${formatPrefix(before)} to ${formatPrefix(range)}`;
  const message = `${what}: ${found}; keep it, or remove the sandboxes on the bridge and wait for their quarantine`;
  throw new CulvertError('bridge_range_held', message);
}
