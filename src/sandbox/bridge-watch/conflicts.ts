import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { formatMac, type Mac } from '../../addr/mac.ts';
import { clearConflicts, listConflicts, recordConflict } from '../../ipam/bridge/conflict.ts';
import type { Store } from '../../ipam/store.ts';

/** How often an address in conflict is asked for again. */
const RECHECK_MS = 30_000;
/** How long one who is heard again and again, or several in turn, are not written down anew. */
const REWRITE_MS = 5000;

type Known = { mac: string; writtenMs: number; recheckMs: number };

/** The addresses at which another answers: the store's, and when each is to be asked for again. */
export class Conflicts {
  readonly #store: Store;
  readonly #known = new Map<Ipv4, Known>();

  constructor(store: Store) {
    this.#store = store;
    for (const { address, mac } of listConflicts(store)) {
      this.#known.set(address, { mac: formatMac(mac), writtenMs: 0, recheckMs: 0 });
    }
  }

  get all(): readonly { readonly address: Ipv4; readonly mac: string }[] {
    return [...this.#known].map(([address, { mac }]) => ({ address, mac }));
  }

  has(address: Ipv4): boolean {
    return this.#known.has(address);
  }

  /**
   * Keeps the address from being handed out.
   *
   * @returns whether that is news
   */
  record(address: Ipv4, mac: Mac, nowMs: number): boolean {
    const known = this.#known.get(address);
    const text = formatMac(mac);
    const isNews = known?.mac !== text;
    if (known !== undefined && nowMs - known.writtenMs < REWRITE_MS) return false;
    recordConflict(this.#store, address, { mac, reason: 'answers to ARP on the bridge' });
    this.#known.set(address, { mac: text, writtenMs: nowMs, recheckMs: nowMs + RECHECK_MS });
    return isNews;
  }

  /** Nobody answered any more. */
  clear(address: Ipv4): void {
    clearConflicts(this.#store, [address]);
    this.#known.delete(address);
  }

  /** Those to ask for again now. */
  due(nowMs: number): Ipv4[] {
    const due = [...this.#known].filter(([, { recheckMs }]) => recheckMs <= nowMs);
    for (const [, known] of due) known.recheckMs = nowMs + RECHECK_MS;
    return due.map(([address]) => address);
  }
}

/** At most this many are named in one line. */
const NAMED = 4;

export function conflictsText(conflicts: Conflicts['all']): string {
  const named = conflicts.slice(0, NAMED).map(({ address, mac }) => `${formatIpv4(address)} (MAC address ${mac})`);
  const more = conflicts.length - named.length;
  const addresses = conflicts.length === 1 ? 'an address' : `${conflicts.length} addresses`;
  return `Another answers at ${addresses} of the bridge: ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
