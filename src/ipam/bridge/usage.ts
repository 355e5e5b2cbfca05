import { formatPrefix, type Prefix } from '../../addr/prefix.ts';
import { CulvertError } from '../../errors.ts';
import { nextDueMs, whenFree } from '../due.ts';
import type { Store } from '../store.ts';
import { PROBE_MS } from './probe.ts';
import { bridgeRange, hostsOf } from './range.ts';

/** What one bridge of the kernel takes: BR_MAX_PORTS of net/bridge/br_private.h, less the number 0. */
export const BRIDGE_PORTS = 1023;

/** How full the bridge is. Each address of the range counts once. */
export interface BridgeUsage {
  readonly range: Prefix;
  /** Held by nobody, and asked about on the wire: these can be handed out. */
  readonly free: number;
  /** Held by nobody, and the wire is still being asked. */
  readonly probing: number;
  /** Held by leases of which a port may stand on the bridge: these fill BRIDGE_PORTS, too. */
  readonly live: number;
  /** Held by leases in quarantine. */
  readonly quarantined: number;
  /** Held by nobody, and another answered there. */
  readonly conflicts: number;
  /** How many more leases the bridge takes now, by addresses and by ports; 0 is full. */
  readonly left: number;
  /** The most it would take, if all were removed and out of quarantine. */
  readonly capacity: number;
  /** How long until a probe ends at the latest, or the quarantine lets an address go; undefined where time frees none. */
  readonly nextFree_ms: number | undefined;
}

/** The bridge has fewer addresses or ports free than were asked for. */
export class BridgeExhausted extends CulvertError {
  override readonly name = 'BridgeExhausted';
  readonly usage: BridgeUsage;

  constructor(wanted: number, usage: BridgeUsage) {
    super('bridge_exhausted', usage.free < wanted ? noAddress(wanted, usage) : noPort(wanted, usage));
    this.usage = usage;
  }
}

function noAddress(wanted: number, usage: BridgeUsage): string {
  const { range, free, probing, live, quarantined, conflicts, nextFree_ms } = usage;
  const addresses = wanted === 1 ? 'a bridge address' : `${wanted} bridge addresses`;
  const asked = probing === 0 ? '' : `, ${probing} being probed`;
  const others = conflicts === 0 ? '' : `, ${conflicts} at which another answers`;
  const found = `${free} free, ${live} live, ${quarantined} quarantined${asked}${others}; ${whenFree(nextFree_ms)}`;
  return `Cannot claim ${addresses} of ${formatPrefix(range)}: ${found}`;
}

function noPort(wanted: number, { live }: BridgeUsage): string {
  const sandboxes = wanted === 1 ? 'a sandbox' : `${wanted} sandboxes`;
  return `Cannot put ${sandboxes} on the bridge: ${live} of its ${BRIDGE_PORTS} ports are taken; remove some first`;
}

/** @throws CulvertError `bridge_range_unset` */
export function bridgeUsage(store: Store): BridgeUsage {
  const range = rangeOf(store);
  const [row] = store.all(
    `SELECT count(*) AS addresses,
       count(*) FILTER (WHERE held IS NULL AND conflict_mac IS NULL AND probed = 1) AS free,
       count(*) FILTER (WHERE held IS NULL AND conflict_mac IS NULL AND probed = 0) AS probing,
       count(*) FILTER (WHERE held IS NULL AND conflict_mac IS NOT NULL) AS conflicts,
       count(*) FILTER (WHERE state = 'quarantined') AS quarantined
     FROM bridge_address LEFT JOIN lease ON lease.bridge_address = held`,
  );
  const count = (name: string): number => Number(row?.[name]);
  const [free, probing] = [count('free'), count('probing')];
  const [conflicts, quarantined] = [count('conflicts'), count('quarantined')];
  const addresses = count('addresses');
  const live = addresses - free - probing - conflicts - quarantined;
  const left = Math.max(0, Math.min(free, BRIDGE_PORTS - live));
  const capacity = Math.min(addresses - conflicts, BRIDGE_PORTS);
  const due = `bridge_address IN (SELECT held FROM bridge_address WHERE held IS NOT NULL AND conflict_mac IS NULL)`;
  const nextFree_ms = probing > 0 ? PROBE_MS : nextDueMs(store, due);
  return { range, free, probing, live, quarantined, conflicts, left, capacity, nextFree_ms };
}

/**
 * That the bridge takes `wanted` more, of which `found` addresses are free.
 *
 * @throws BridgeExhausted; CulvertError `bridge_range_unset`
 */
export function assertRoom(store: Store, wanted: number, found: number): void {
  const { first, last } = hostsOf(rangeOf(store));
  // Counting costs time in proportion to the range, and in most ranges addresses end before ports do.
  if (found === wanted && last - first < BRIDGE_PORTS) return;
  const usage = bridgeUsage(store);
  if (usage.left < wanted) throw new BridgeExhausted(wanted, usage);
}

function rangeOf(store: Store): Prefix {
  const range = bridgeRange(store);
  if (range !== undefined) return range;
  throw new CulvertError('bridge_range_unset', `Cannot use the bridge: no range is set for it in ${store.path}`);
}
