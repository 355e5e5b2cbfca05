import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import type { Prefix } from '../../addr/prefix.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { deleteElements, newElements } from '../../linux/nftables/element.ts';
import { observeTable } from '../../linux/nftables/observe.ts';
import type { Element, Table } from '../../plan/ruleset.ts';
import { elementText } from '../../plan/ruleset-text.ts';
import type { EgressPolicy } from '../policy/policy.ts';
import { hostAccessElement } from '../ruleset/elements.ts';
import { HOST_ACCESS } from '../ruleset/names.ts';

/** What of a sandbox decides which of the host's own addresses it reaches. */
export type HostGuest = {
  readonly slot: number;
  /** that the host knows it by */
  readonly address: Ipv4;
  readonly policy: EgressPolicy;
  readonly owner: string;
};

const WHOLE_LENGTH = 32;

/**
 * Which of the host's own addresses a sandbox may open connections to: those that its policy allows one by one, as
 * `192.0.2.2/32`. A shorter prefix opens none: whoever allows a network that the host is in does not mean the host.
 *
 * The root namespace's input is asked about nothing but the host's own addresses, so which they are need not be known.
 */
export class HostAccess {
  readonly #socket: NetlinkSocket;
  readonly #table: Table;
  readonly #standing = new Map<number, readonly Element[]>();

  /** @param socket of NETLINK_NETFILTER, in the root namespace */
  constructor(socket: NetlinkSocket, table: Table) {
    this.#socket = socket;
    this.#table = table;
  }

  /** Brings the table to these sandboxes and no others. Returns what was put right, as {@link Gate.restore} does. */
  restore(guests: readonly HostGuest[]): string[] {
    const { strays, missing } = this.#compare(guests);
    this.#write(strays, missing);
    this.#standing.clear();
    for (const guest of guests) this.#stand(guest);
    return this.#text(strays, missing);
  }

  /** What {@link restore} would put right. */
  compare(guests: readonly HostGuest[]): string[] {
    const { strays, missing } = this.#compare(guests);
    return this.#text(strays, missing);
  }

  /** The lines of {@link restore} should it have nothing yet of these. */
  additions(guests: readonly HostGuest[]): string[] {
    return this.#text([], guests.flatMap(elementsOf));
  }

  /** Lets each reach what its policy says now, and no longer what it said before. */
  give(guests: readonly HostGuest[]): void {
    const added = guests.flatMap(elementsOf);
    this.#write(
      guests.flatMap(({ slot }) => this.#standing.get(slot) ?? []),
      added,
    );
    for (const guest of guests) this.#stand(guest);
  }

  take(slots: readonly number[]): void {
    this.#write(
      slots.flatMap((slot) => this.#standing.get(slot) ?? []),
      [],
    );
    for (const slot of slots) this.#standing.delete(slot);
  }

  #text(strays: readonly Element[], missing: readonly Element[]): string[] {
    return [
      ...missing.map((element) => elementText(this.#table, HOST_ACCESS, element, 'add')),
      ...strays.map((element) => elementText(this.#table, HOST_ACCESS, element, 'delete')),
    ];
  }

  #stand(guest: HostGuest): void {
    const elements = elementsOf(guest);
    if (elements.length > 0) this.#standing.set(guest.slot, elements);
    else this.#standing.delete(guest.slot);
  }

  #compare(guests: readonly HostGuest[]): { readonly strays: Element[]; readonly missing: Element[] } {
    const found = observeTable(this.#socket, this.#table, [HOST_ACCESS.name])?.elements.get(HOST_ACCESS.name) ?? [];
    const present = new Map(found.map((element) => [keyText(element), element]));
    const missing = guests.flatMap(elementsOf).filter((element) => !present.delete(keyText(element)));
    return { strays: [...present.values()], missing };
  }

  #write(deleted: readonly Element[], added: readonly Element[]): void {
    if (deleted.length === 0 && added.length === 0) return;
    applyTransaction(this.#socket, [
      ...(deleted.length === 0 ? [] : deleteElements(this.#table, HOST_ACCESS, deleted)),
      ...(added.length === 0 ? [] : newElements(this.#table, HOST_ACCESS, added)),
    ]);
  }
}

/** The addresses that a policy opens should they be the host's. */
export function allowedHostAddresses({ allow, deny }: EgressPolicy): Ipv4[] {
  if (allow.length === 0) return [];
  const denied = new Set(deny.filter(isOneAddress).map(({ address }) => address));
  return allow.filter((prefix) => isOneAddress(prefix) && !denied.has(prefix.address)).map(({ address }) => address);
}

function elementsOf({ address, policy, owner }: HostGuest): Element[] {
  return allowedHostAddresses(policy).map((destination) => hostAccessElement(address, destination, owner));
}

function isOneAddress({ length }: Prefix): boolean {
  return length === WHOLE_LENGTH;
}

function keyText({ key }: Element): string {
  return key.map((value) => formatIpv4(value as Ipv4)).join(' . ');
}
