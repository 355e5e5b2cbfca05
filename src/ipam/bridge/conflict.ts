import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';
import { CulvertError, InputError } from '../../errors.ts';
import { assertReason, type Slot } from '../lease.ts';
import type { Store } from '../store.ts';
import { lastOrder } from './address.ts';

/**
 * An address at which another than its holder answers (RFC 5227). It is in a quarantine of its own, which no time ends:
 * it is not handed out until a probe of it stays without an answer.
 */
export interface AddressConflict {
  readonly address: Ipv4;
  /** Whose answer was seen last. */
  readonly mac: Mac;
  readonly reason: string;
  /** When it was seen last, in ms since the epoch. */
  readonly sinceWallMs: number;
  /** The slot whose lease holds the address, be it in quarantine; undefined where none does. */
  readonly slot: Slot | undefined;
}

/**
 * Records who answered at an address of the bridge, in place of what was known of it. A lease that holds the address
 * keeps it, but is not handed out from the warm pool; when it leaves quarantine the address stays behind.
 *
 * @param seen.reason for people, 1 to REASON_MAX characters
 * @throws InputError `unknown_address` where it is none of the range, `invalid_reason`
 */
export function recordConflict(
  store: Store,
  address: Ipv4,
  seen: { readonly mac: Mac; readonly reason: string },
): void {
  assertReason(seen.reason);
  const set = `UPDATE bridge_address SET conflict_mac = ?, conflict_reason = ?, conflict_wall_ms = ? WHERE address = ?`;
  const wallMs = Math.trunc(store.clock.wallMs());
  const changed = store.transaction('normal', () => store.run(set, seen.mac, seen.reason, wallMs, address));
  if (changed === 1) return;
  const message = `Cannot record a conflict at ${formatIpv4(address)}: the bridge has no such address for sandboxes`;
  throw new InputError('unknown_address', message);
}

/**
 * Ends conflicts, all or none, after a probe of each that began after the conflict was recorded and had no answer.
 * Those that no lease holds go to the end of the queue.
 *
 * @throws CulvertError `address_state` where one is not in conflict
 */
export function clearConflicts(store: Store, addresses: readonly Ipv4[]): void {
  const set = `UPDATE bridge_address SET conflict_mac = NULL, conflict_reason = NULL, conflict_wall_ms = NULL,
    probed = 1, free_order = CASE WHEN held IS NULL THEN ? END WHERE address = ? AND conflict_mac IS NOT NULL`;
  store.transaction('normal', () => {
    let order = lastOrder(store);
    for (const address of addresses) {
      if (store.run(set, ++order, address) === 1) continue;
      const message = `Cannot clear the conflict at ${formatIpv4(address)}: none is recorded`;
      throw new CulvertError('address_state', message);
    }
  });
}

/** All conflicts, by address. */
export function listConflicts(store: Store): AddressConflict[] {
  const rows = store.all(
    `SELECT address, conflict_mac, conflict_reason, conflict_wall_ms, slot
     FROM bridge_address LEFT JOIN lease ON lease.bridge_address = held
     WHERE conflict_mac IS NOT NULL ORDER BY address`,
  );
  return rows.map((row) => ({
    address: row['address'] as Ipv4,
    mac: row['conflict_mac'] as Mac,
    reason: row['conflict_reason'] as string,
    sinceWallMs: row['conflict_wall_ms'] as number,
    slot: (row['slot'] as Slot | null) ?? undefined,
  }));
}

/** Whether another answers at the address. */
export function isInConflict(store: Store, address: Ipv4): boolean {
  return store.all('SELECT 1 FROM bridge_address WHERE address = ? AND conflict_mac IS NOT NULL', address).length > 0;
}
