import type { Ruleset, SetElements } from '../../plan/ruleset.ts';
import { elementText, rulesetText } from '../../plan/ruleset-text.ts';

/** A table of a tunnel as it should be. */
export type FirewallTable = {
  /** The rules, and of elements the constant ones alone: what is in the table's digest. */
  readonly ruleset: Ruleset;
  /** What its sets hold besides, which changes while the tunnel lives. */
  readonly contents: readonly SetElements[];
};

/** As a person reads it, and nft(8) too; see {@link rulesetText}. */
export function firewallText({ ruleset, contents }: FirewallTable): string {
  const lines = contents.flatMap(({ set, elements }) =>
    elements.map((element) => elementText(ruleset.table, set, element, 'add')),
  );
  return [rulesetText(ruleset), ...lines].join('\n');
}
