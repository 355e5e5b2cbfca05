import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Names } from '../../dns/names.ts';
import type { GroupName } from '../../sandbox/group.ts';
import type { OwnMember } from '../../sandbox/groups.ts';

/** A sandbox of another host. */
export type FarName = { readonly group: GroupName; readonly host: string; readonly id: string };

type Entry = { readonly group: GroupName; readonly id: string; readonly address: Ipv4 };

/** Who is in which group, by name and by address, here and on other hosts. */
export class Directory implements Names {
  readonly #own = new Map<string, Entry>();
  readonly #far = new Map<string, Entry>();
  /** The addresses of an id in a group: one, but where two hosts have a sandbox of that id. */
  readonly #byName = new Map<string, Set<Ipv4>>();
  readonly #byAddress = new Map<Ipv4, Entry>();
  /** of which it is not known yet who of other hosts is in them */
  readonly #unheard = new Set<string>();

  takeOwn(members: readonly OwnMember[]): void {
    for (const { id, address, group } of members) this.#set(this.#own, id, group && { group, id, address });
  }

  /** @param address undefined where it is there no more */
  takeFar({ group, host, id }: FarName, address: Ipv4 | undefined): void {
    const entry = address === undefined ? undefined : { group, id, address };
    this.#set(this.#far, `${group}/${host}/${id}`, entry);
  }

  /** @param isHeard whether all that other hosts have in the group is known */
  setHeard(group: GroupName, isHeard: boolean): void {
    if (isHeard) this.#unheard.delete(group);
    else this.#unheard.add(group);
  }

  isWhole(group: string): boolean {
    return !this.#unheard.has(group);
  }

  /** The group of a sandbox of this host. */
  groupOf(address: Ipv4): GroupName | undefined {
    const entry = this.#byAddress.get(address);
    return entry !== undefined && this.#own.get(entry.id) === entry ? entry.group : undefined;
  }

  addressesOf(group: string, id: string): readonly Ipv4[] {
    return [...(this.#byName.get(`${group}/${id}`) ?? [])];
  }

  idAt(group: string, address: Ipv4): string | undefined {
    const entry = this.#byAddress.get(address);
    return entry?.group === group ? entry.id : undefined;
  }

  #set(entries: Map<string, Entry>, key: string, entry: Entry | undefined): void {
    const former = entries.get(key);
    if (former !== undefined) {
      entries.delete(key);
      this.#forget(former);
    }
    if (entry === undefined) return;
    entries.set(key, entry);
    const name = `${entry.group}/${entry.id}`;
    const addresses = this.#byName.get(name);
    if (addresses === undefined) this.#byName.set(name, new Set([entry.address]));
    else addresses.add(entry.address);
    this.#byAddress.set(entry.address, entry);
  }

  #forget(entry: Entry): void {
    const { group, id, address } = entry;
    const addresses = this.#byName.get(`${group}/${id}`);
    addresses?.delete(address);
    if (addresses?.size === 0) this.#byName.delete(`${group}/${id}`);
    // another may have come to the address before this one is said to be gone
    if (this.#byAddress.get(address) === entry) this.#byAddress.delete(address);
  }
}
