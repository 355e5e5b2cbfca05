import { CulvertError } from '../../errors.ts';
import type { NetlinkSocket, Request } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { deleteElements, newElements } from '../../linux/nftables/element.ts';
import { isIntact } from '../../linux/nftables/intact.ts';
import { observeTable, observeTables } from '../../linux/nftables/observe.ts';
import { replaceRuleset } from '../../linux/nftables/ruleset.ts';
import { deleteTable, tableText } from '../../linux/nftables/table.ts';
import { type Element, exactText, isDigest, type NamedSet, type SetElements, type Table } from '../../plan/ruleset.ts';
import { elementText } from '../../plan/ruleset-text.ts';
import { ownerOf, type Purpose, tableOf } from './names.ts';
import type { FirewallTable } from './table.ts';

/*
 * Tables of tunnels in the kernel, which alone knows which there are: nothing is remembered. A table is ours where its
 * name is a tunnel's and its comment is the digest of a ruleset, as every table has that was made here.
 */

export type FoundTable = { readonly purpose: Purpose; readonly tunnel: string; readonly table: Table };

/** A set, with the elements that it has too many and too few. */
type Difference = { readonly set: NamedSet; readonly gone: readonly Element[]; readonly come: readonly Element[] };

/** What there is to do: all of it anew, or elements of sets. */
type Change = { readonly isWhole: boolean; readonly differences: readonly Difference[] };

/**
 * Brings the table to what it should be in one transaction, and reads it back; where it is so already nothing is written.
 * Where only elements differ no packet is lost by it, and in no case does one pass that neither the table of before nor
 * the new one lets pass.
 *
 * @param netfilter of NETLINK_NETFILTER, in the namespace of the tunnel
 * @returns what was put right, in words
 * @throws CulvertError `foreign_table` where another program has a table of the name; `firewall_not_kept` where the kernel
 * has, when it has done it, something else
 */
export function bringTo(netfilter: NetlinkSocket, wanted: FirewallTable): string[] {
  const change = compare(netfilter, wanted);
  const lines = textOf(wanted, change);
  if (lines.length === 0) return [];
  applyTransaction(netfilter, requestsOf(wanted, change));
  const left = difference(netfilter, wanted);
  if (left.length === 0) return lines;
  const text = tableText(wanted.ruleset.table);
  const message = `Cannot keep table ${text}: what was written is not what is there, still to do: ${left.join('; ')}`;
  throw new CulvertError('firewall_not_kept', `${message}; see whether another program changes it`);
}

/** What {@link bringTo} would put right; nothing where the table is as it should be. */
export function difference(netfilter: NetlinkSocket, wanted: FirewallTable): string[] {
  return textOf(wanted, compare(netfilter, wanted));
}

/**
 * Takes a tunnel's table away, whatever is in it.
 *
 * @returns whether it was there
 * @throws CulvertError `foreign_table` where another program has a table of the name
 */
export function removeFirewall(netfilter: NetlinkSocket, purpose: Purpose, tunnel: string): boolean {
  const table = tableOf(purpose, tunnel);
  const found = observeTable(netfilter, table);
  if (found === undefined) return false;
  assertOurs(table, found.digest);
  applyTransaction(netfilter, [deleteTable(table)]);
  return true;
}

/** All tables of tunnels, of whichever process. */
export function listFirewalls(netfilter: NetlinkSocket): FoundTable[] {
  return observeTables(netfilter, 'inet').flatMap(({ name, digest }) => {
    const owner = ownerOf(name);
    if (owner === undefined || digest === undefined || !isDigest(digest)) return [];
    return [{ ...owner, table: tableOf(owner.purpose, owner.tunnel) }];
  });
}

function compare(netfilter: NetlinkSocket, { ruleset, contents }: FirewallTable): Change {
  const found = observeTable(netfilter, ruleset.table);
  if (found !== undefined) assertOurs(ruleset.table, found.digest);
  if (found === undefined || !isIntact(netfilter, ruleset)) return { isWhole: false, differences: [] };
  const names = contents.map(({ set }) => set.name);
  const elements = observeTable(netfilter, ruleset.table, names)?.elements;
  const differences = contents.map((group) => differ(elements?.get(group.set.name) ?? [], group));
  return { isWhole: true, differences: differences.filter(({ gone, come }) => gone.length + come.length > 0) };
}

function differ(found: readonly Element[], { set, elements }: SetElements): Difference {
  const present = new Map(found.map((element) => [elementKey(element), element]));
  const come = elements.filter((element) => !present.delete(elementKey(element)));
  return { set, gone: [...present.values()], come };
}

/** The whole element: one of which the comment differs goes and comes again. */
function elementKey({ key, last = key, comment }: Element): string {
  return exactText([key, last, comment]);
}

function requestsOf({ ruleset, contents }: FirewallTable, { isWhole, differences }: Change): Request[] {
  const { table } = ruleset;
  if (!isWhole) {
    return [...replaceRuleset(ruleset), ...contents.flatMap(({ set, elements }) => newElements(table, set, elements))];
  }
  return differences.flatMap(({ set, gone, come }) => [
    ...deleteElements(table, set, gone),
    ...newElements(table, set, come),
  ]);
}

function textOf({ ruleset: { table } }: FirewallTable, { isWhole, differences }: Change): string[] {
  if (!isWhole) return [`replace table ${tableText(table)}`];
  return differences.flatMap(({ set, gone, come }) => [
    ...gone.map((element) => elementText(table, set, element, 'delete')),
    ...come.map((element) => elementText(table, set, element, 'add')),
  ]);
}

function assertOurs(table: Table, comment: string | undefined): void {
  if (comment !== undefined && isDigest(comment)) return;
  const text = tableText(table);
  const message = `Cannot take over table ${text}: it has the name of a tunnel's, but another program made it; see what it is (nft list table ${text}), and where nobody needs it: nft delete table ${text}`;
  throw new CulvertError('foreign_table', message);
}
