import type { Rule, Table } from '../../plan/ruleset.ts';
import { NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE } from '../netlink/constants.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import {
  NFT_MSG_NEWRULE,
  NFTA_LIST_ELEM,
  NFTA_RULE_CHAIN,
  NFTA_RULE_EXPRESSIONS,
  NFTA_RULE_TABLE,
} from './constants.ts';
import { writeExpression } from './expr/expression.ts';
import { tableMessage } from './message.ts';
import { tableText } from './table.ts';

/** Appends a rule to its chain; `position` counts from 1 and is for errors only. */
export function newRule(table: Table, chain: string, rule: Rule, position: number): Request {
  const attempt = `add rule ${position} of chain ${chain} to table ${tableText(table)}`;
  return tableMessage(table.family, attempt, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, (writer) => {
    writer.attrString(NFTA_RULE_TABLE, table.name).attrString(NFTA_RULE_CHAIN, chain);
    writeExpressions(writer, rule);
  });
}

export function writeExpressions(writer: MessageWriter, rule: Rule): void {
  writer.nest(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED, (list) => {
    for (const expression of rule) {
      list.nest(NFTA_LIST_ELEM | NLA_F_NESTED, (nest) => writeExpression(nest, expression));
    }
  });
}
