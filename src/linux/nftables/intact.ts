import {
  type Chain,
  type Element,
  exactText,
  type Ruleset,
  rulesetDigest,
  type SetElements,
  type Table,
} from '../../plan/ruleset.ts';
import { readAttributes, readString } from '../netlink/attribute.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import { chainPolicies } from './chain.ts';
import { NFT_MSG_GETRULE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_TABLE } from './constants.ts';
import { NFGENMSG_LENGTH, tableMessage } from './message.ts';
import { type ObservedTable, observeTable } from './observe.ts';
import { tableText } from './table.ts';

/**
 * Whether a table was made from the ruleset, and nobody has taken anything of that away since or put something else in
 * its place; what was added to it in new chains and sets is not looked at.
 *
 * @param socket of NETLINK_NETFILTER, in the namespace of the table
 */
export function isIntact(socket: NetlinkSocket, ruleset: Ruleset): boolean {
  const observed = observeWith(socket, ruleset.table, [ruleset]);
  return observed?.digest === rulesetDigest(ruleset) && !observed.isDormant && haveParts(socket, observed, [ruleset]);
}

/** The same of rulesets that were put into one table, each in a transaction of its own. */
export function areIntact(socket: NetlinkSocket, table: Table, rulesets: readonly Ruleset[]): boolean {
  const observed = observeWith(socket, table, rulesets);
  return observed !== undefined && haveParts(socket, observed, rulesets);
}

/** The table with the sets that hold constants. */
function observeWith(socket: NetlinkSocket, table: Table, rulesets: readonly Ruleset[]): ObservedTable | undefined {
  const sets = rulesets.flatMap(({ elements }) => elements).map(({ set }) => set.name);
  return observeTable(socket, table, [...new Set(sets)]);
}

/** @param rulesets of that table */
function haveParts(socket: NetlinkSocket, { elements: found }: ObservedTable, rulesets: readonly Ruleset[]): boolean {
  const [first] = rulesets;
  if (first === undefined) return true;
  const texts = new Map([...found].map(([set, elements]) => [set, new Set(elements.map(elementText))]));
  const handles = listHandles(socket, first.table);
  const hasElements = ({ set, elements }: SetElements): boolean =>
    elements.every((element) => texts.get(set.name)?.has(elementText(element)));
  // a set that came with them holds nothing else
  const isWhole = ({ sets }: Ruleset, { set, elements }: SetElements): boolean =>
    !sets.includes(set) || texts.get(set.name)?.size === elements.length;
  return rulesets.every(
    (ruleset) =>
      ruleset.elements.every((group) => hasElements(group) && isWhole(ruleset, group)) &&
      haveRules(ruleset.chains, handles) &&
      havePolicies(socket, ruleset.table, ruleset.chains),
  );
}

/** Of what a chain is made with, its policy alone can be changed. */
function havePolicies(socket: NetlinkSocket, table: Table, chains: readonly Chain[]): boolean {
  const bases = chains.filter(({ base }) => base !== undefined);
  const names = bases.map(({ name }) => name);
  const policies = chainPolicies(socket, table, names);
  return bases.every(({ base }, index) => policies[index] === base?.policy);
}

/** Whether the chains have the rules that they were made with, and no others. */
export function hasRules(socket: NetlinkSocket, table: Table, chains: readonly Chain[]): boolean {
  return haveRules(chains, listHandles(socket, table));
}

/**
 * The kernel numbers what is put into a table one after the other and uses no number twice, so rules that were made in
 * one transaction have a run of numbers: one that came later, in whatever place, is none of it.
 */
function haveRules(chains: readonly Chain[], found: ReadonlyMap<string, readonly bigint[]>): boolean {
  const handles = chains.flatMap(({ name }) => found.get(name) ?? []);
  const [first = 0n] = handles;
  return (
    chains.every(({ name, rules }) => (found.get(name)?.length ?? 0) === rules.length) &&
    handles.every((handle, index) => handle === first + BigInt(index))
  );
}

/** The handles of a table's rules, by chain, as they stand there. */
function listHandles(socket: NetlinkSocket, table: Table): Map<string, bigint[]> {
  const attempt = `list rules of table ${tableText(table)}`;
  const request = tableMessage(table.family, attempt, NFT_MSG_GETRULE, 0, (writer) => {
    writer.attrString(NFTA_RULE_TABLE, table.name);
  });
  const byChain = new Map<string, bigint[]>();
  const rules = socket.dump(request, ({ body }) => {
    const attributes = readAttributes(body, NFGENMSG_LENGTH);
    const [chain, handle] = [attributes.get(NFTA_RULE_CHAIN), attributes.get(NFTA_RULE_HANDLE)];
    if (chain === undefined || handle === undefined)
      throw new RangeError(`Cannot ${attempt}: one has no chain or handle`);
    return { chain: readString(chain), handle: new DataView(handle.buffer, handle.byteOffset).getBigUint64(0) };
  });
  for (const { chain, handle } of rules) {
    const handles = byChain.get(chain);
    if (handles === undefined) byChain.set(chain, [handle]);
    else handles.push(handle);
  }
  return byChain;
}

function elementText({ key, last = key, data }: Element): string {
  return exactText([key, last, data]);
}
