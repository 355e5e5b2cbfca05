import type { Ipv4 } from '../addr/ipv4.ts';
import { formatMac, type Mac } from '../addr/mac.ts';
import type { Request } from '../linux/netlink/socket.ts';
import { deleteElements, newElements } from '../linux/nftables/element.ts';
import type { Element, NamedSet, SetElements, Table, Value } from '../plan/ruleset.ts';
import { elementText } from '../plan/ruleset-text.ts';
import { type GroupName, memberComment } from './group.ts';
import type { EgressPolicy } from './policy/policy.ts';
import { attachmentElements, portElements, transmitLimitElement } from './ruleset/elements.ts';
import {
  BRIDGE_TABLE,
  FAR_GROUPS,
  FAR_MEMBERS,
  GROUPS,
  INBOUND,
  MEMBERS,
  OUTBOUND,
  PORTS,
  ROUTER_TABLE,
  TRANSMIT_LIMITS,
} from './ruleset/names.ts';
import { BRIDGE, bridgeMac, cable, type Layout } from './topology/layout.ts';
import { addressOf, type Network } from './topology/network.ts';

/** A sandbox that may pass: its network, what and whom it may reach, and who it is, such as `a1 generation 3`. */
export type Pass = {
  readonly network: Network;
  readonly policy: EgressPolicy;
  readonly group?: GroupName;
  /** number of its group's tunnel, the one way that its policy leads by */
  readonly via?: number;
  readonly owner: string;
};

/** By which the table knows the policy of a sandbox, and its group where it is in one. */
export type Numbers = { readonly policy: number; readonly group?: number };

/** One element with where it stands. */
export type Placed = { readonly table: Table; readonly set: NamedSet; readonly element: Element };

/** The sets that hold sandboxes, by table. */
export const SETS: readonly { readonly table: Table; readonly sets: readonly NamedSet[] }[] = [
  { table: ROUTER_TABLE, sets: [OUTBOUND, INBOUND, TRANSMIT_LIMITS, GROUPS, MEMBERS, FAR_GROUPS, FAR_MEMBERS] },
  { table: BRIDGE_TABLE, sets: [PORTS, TRANSMIT_LIMITS] },
];

/** What lets a sandbox pass. */
export function placedElements(pass: Pass, { policy, group }: Numbers, layout: Layout): Placed[] {
  const { network, owner: comment } = pass;
  const { topology, slot, rates } = network;
  const port = cable(slot).index;
  const onBridge = topology === 'bridge';
  const address = addressOf(network, layout);
  const attachment = attachmentElements({
    index: onBridge ? BRIDGE.index : port,
    wireAddress: topology === 'microvm' ? layout.guest.address : address,
    hostAddress: address,
    policy,
    comment,
  });
  const placed = attachment.flatMap((elements) => place(ROUTER_TABLE, elements));
  if (onBridge) placed.push(...place(BRIDGE_TABLE, portElements(port, bridgeMac(address), address, comment)));
  // a guest cannot reach the shaper in the namespace before it, which delays where this drops
  if (rates.transmit !== undefined && topology !== 'microvm') {
    placed.push(...place(onBridge ? BRIDGE_TABLE : ROUTER_TABLE, transmitLimitElement(port, rates.transmit, comment)));
  }
  if (group !== undefined && pass.group !== undefined) {
    placed.push(
      ...placedMember({ groups: GROUPS, members: MEMBERS }, address, group, memberComment(comment, pass.group)),
    );
  }
  return placed;
}

/** What puts an address into a group. */
export function placedMember(
  { groups, members }: { readonly groups: NamedSet; readonly members: NamedSet },
  address: Ipv4,
  group: number,
  comment: string,
): Placed[] {
  return [
    { table: ROUTER_TABLE, set: groups, element: { key: [address], data: [group], comment } },
    { table: ROUTER_TABLE, set: members, element: { key: [address, group], comment } },
  ];
}

/** What leads from the elements that are present to those that are wanted. */
export function comparePlaced(
  present: readonly Placed[],
  wanted: readonly Placed[],
): { readonly requests: Request[]; readonly changes: string[] } {
  const left = new Map(present.map((placed) => [placedKey(placed), placed]));
  const requests: Request[] = [];
  const changes: string[] = [];
  const added: Placed[] = [];
  for (const placed of wanted) {
    const key = placedKey(placed);
    const found = left.get(key);
    left.delete(key);
    if (found !== undefined && sameElement(found.element, placed.element)) continue;
    if (found !== undefined) requests.push(...deletion(found));
    added.push(placed);
    changes.push(additionText(placed));
  }
  for (const placed of left.values()) {
    requests.push(...deletion(placed));
    changes.push(elementText(placed.table, placed.set, placed.element, 'delete'));
  }
  requests.push(...additions(added));
  return { requests, changes };
}

function place(table: Table, { set, elements }: SetElements): Placed[] {
  return elements.map((element) => ({ table, set, element }));
}

/** One message per set, whatever the number of elements. */
export function additions(placed: readonly Placed[]): Request[] {
  return SETS.flatMap(({ table, sets }) =>
    sets.flatMap((set) => {
      const elements = placed.filter((one) => one.set === set && one.table === table).map(({ element }) => element);
      return elements.length === 0 ? [] : newElements(table, set, elements);
    }),
  );
}

export function deletion({ table, set, element }: Placed): Request[] {
  return deleteElements(table, set, [element]);
}

/** As {@link comparePlaced} says that it is missing. */
export function additionText({ table, set, element }: Placed): string {
  return elementText(table, set, element, 'add');
}

function placedKey({ table, set, element }: Placed): string {
  return `${table.family} ${set.name} ${valuesText(element.key)}`;
}

function sameElement(a: Element, b: Element): boolean {
  const sameLimit = a.over?.rate === b.over?.rate && a.over?.burst === b.over?.burst;
  return a.comment === b.comment && dataText(a) === dataText(b) && sameLimit;
}

function dataText({ data }: Element): string {
  return Array.isArray(data) ? valuesText(data) : JSON.stringify(data);
}

function valuesText(values: readonly Value[]): string {
  return values
    .map((value) => (typeof value === 'object' ? formatMac(value satisfies Mac) : String(value)))
    .join(' . ');
}
