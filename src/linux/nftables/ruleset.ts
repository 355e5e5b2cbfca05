import { type Ruleset, rulesetDigest } from '../../plan/ruleset.ts';
import type { Request } from '../netlink/socket.ts';
import { newChain } from './chain.ts';
import { newElements } from './element.ts';
import { newRule } from './rule.ts';
import { newSet } from './set.ts';
import { deleteTable, newTable } from './table.ts';

/**
 * Puts the ruleset in the place of whatever the table holds, elements that were added since it was made among them;
 * give in the same transaction those that shall stay. The table's comment keeps the digest.
 */
export function replaceRuleset(ruleset: Ruleset): Request[] {
  const { table, sets, chains, elements } = ruleset;
  const setsByName = new Map(sets.map((set) => [set.name, set]));
  return [
    // Deleting fails where there is no table; making it does nothing where there is one.
    newTable(table),
    deleteTable(table),
    newTable(table, rulesetDigest(ruleset)),
    ...sets.map((set) => newSet(table, set)),
    ...chains.map((chain) => newChain(table, chain)),
    ...elements.flatMap((group) => {
      const set = setsByName.get(group.set);
      if (set === undefined) throw new RangeError(`Cannot add elements to set ${group.set}: the ruleset has none`);
      return newElements(table, set, group.elements);
    }),
    ...chains.flatMap(({ name, rules }) => rules.map((rule, index) => newRule(table, name, rule, index + 1))),
  ];
}
