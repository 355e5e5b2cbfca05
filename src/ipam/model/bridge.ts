import type { Prefix } from '../../addr/prefix.ts';
import type { Operation } from './operation.ts';

type Conflict = Extract<Operation, { do: 'conflict' }>['seen'] & { readonly since: number };

/** The addresses of the bridge, by plain lists. */
export class BridgeModel {
  range: Prefix | undefined;
  /** Those never used, by address, before those used, the longest free first; none that is held or in conflict. */
  free: { address: number; used: boolean; probed: boolean }[] = [];
  readonly held = new Set<number>();
  readonly conflicts = new Map<number, Conflict>();

  all(): number[] {
    if (this.range === undefined) return [];
    const { address, length } = this.range;
    return Array.from({ length: 2 ** (32 - length) }, (_, host) => address + host).slice(2, -1);
  }

  setRange(range: Prefix): unknown {
    if (range.length < 20 || range.length > 30) return 'invalid_bridge_range';
    if (this.range?.address === range.address && this.range.length === range.length) return undefined;
    if (this.held.size > 0) return 'bridge_range_held';
    const before = new Set(this.all());
    this.range = range;
    const all = this.all();
    for (const address of this.conflicts.keys()) if (!all.includes(address)) this.conflicts.delete(address);
    const kept = this.free.filter(({ address }) => all.includes(address));
    const fresh = all
      .filter((address) => !before.has(address))
      .map((address) => ({ address, used: false, probed: false }));
    fresh.push(...kept.filter(({ used }) => !used));
    this.free = [...fresh.toSorted((one, other) => one.address - other.address), ...kept.filter(({ used }) => used)];
    return undefined;
  }

  take(count: number): number[] {
    const taken = this.probed()
      .slice(0, count)
      .map(({ address }) => address);
    this.free = this.free.filter(({ address }) => !taken.includes(address));
    for (const address of taken) this.held.add(address);
    return taken;
  }

  probed(): BridgeModel['free'] {
    return this.free.filter(({ probed }) => probed);
  }

  unprobed(): number[] {
    return this.free.filter(({ probed }) => !probed).map(({ address }) => address);
  }

  pass(addresses: readonly number[]): undefined {
    for (const one of this.free) if (addresses.includes(one.address)) one.probed = true;
  }

  giveBack(address: number): void {
    this.held.delete(address);
    if (!this.conflicts.has(address)) this.free.push({ address, used: true, probed: false });
  }

  conflict(address: number, conflict: Conflict): unknown {
    if (!this.all().includes(address)) return 'unknown_address';
    this.free = this.free.filter((one) => one.address !== address);
    this.conflicts.set(address, conflict);
    return undefined;
  }

  clear(addresses: number[]): unknown {
    if (new Set(addresses).size < addresses.length) return 'address_state';
    if (addresses.some((address) => !this.conflicts.has(address))) return 'address_state';
    for (const address of addresses) {
      this.conflicts.delete(address);
      if (!this.held.has(address)) this.free.push({ address, used: true, probed: true });
    }
    return undefined;
  }
}
