import { type Ruleset, rulesetDigest } from '../../plan/ruleset.ts';
import type { Request } from '../netlink/socket.ts';
import { deleteChain, newChain } from './chain.ts';
import { deleteElements, newElements } from './element.ts';
import { newRule } from './rule.ts';
import { deleteSet, newSet } from './set.ts';
import { deleteTable, newTable } from './table.ts';

/**
 * Puts the ruleset in the place of whatever the table holds, elements that were added since it was made among them;
 * add in the same transaction those that shall stay. The table's comment keeps the digest.
 */
export function replaceRuleset(ruleset: Ruleset): Request[] {
  const { table } = ruleset;
  return [
    // Deleting fails where there is no table; making it does nothing where there is one.
    newTable(table),
    deleteTable(table),
    ...createRuleset(ruleset),
  ];
}

/** Makes the table, where there is none of the name, with the digest as its comment. */
export function createRuleset(ruleset: Ruleset): Request[] {
  return [newTable(ruleset.table, rulesetDigest(ruleset)), ...addRuleset(ruleset)];
}

/** Adds to a table that is there. The elements may belong to sets that it has already. */
export function addRuleset({ table, sets, chains, elements }: Ruleset): Request[] {
  return [
    ...sets.map((set) => newSet(table, set)),
    ...chains.map((chain) => newChain(table, chain)),
    ...elements.flatMap((group) => newElements(table, group.set, group.elements)),
    ...chains.flatMap(({ name, rules }) => rules.map((rule, index) => newRule(table, name, rule, index + 1))),
  ];
}

/** Takes out of the table what {@link addRuleset} put into it. */
export function removeRuleset({ table, sets, chains, elements }: Ruleset): Request[] {
  const going = new Set(sets.map(({ name }) => name));
  return [
    ...elements
      .filter(({ set }) => !going.has(set.name))
      .flatMap((group) => deleteElements(table, group.set, group.elements)),
    ...chains.map(({ name }) => deleteChain(table, name)),
    ...sets.map(({ name }) => deleteSet(table, name)),
  ];
}
