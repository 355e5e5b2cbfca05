import type { Register } from '../../../plan/ruleset.ts';
import { NLA_F_NESTED } from '../../netlink/constants.ts';
import type { MessageWriter } from '../../netlink/message.ts';
import { NFTA_EXPR_DATA, NFTA_EXPR_NAME } from '../constants.ts';
import {
  NFT_CONNLIMIT_F_INV,
  NFT_DYNSET_OP_ADD,
  NFT_DYNSET_OP_UPDATE,
  NFTA_CONNLIMIT_COUNT,
  NFTA_CONNLIMIT_FLAGS,
  NFTA_DYNSET_EXPR,
  NFTA_DYNSET_OP,
  NFTA_DYNSET_SET_NAME,
  NFTA_DYNSET_SREG_KEY,
} from './constants.ts';
import { writeLimit } from './limit.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

/** An update makes the element where there is none; it lives as long as the set says. */
export function writeLimitPerKey(writer: MessageWriter, { set, from, ...limit }: OfKind<'limit per key'>): void {
  writeDynset(writer, set, from, NFT_DYNSET_OP_UPDATE, 'limit', (data) => writeLimit(data, limit));
}

/** An element that is added has no time to live: its flows are what it lives by. */
export function writeFlowsPerKey(writer: MessageWriter, { set, from, over }: OfKind<'flows per key'>): void {
  writeDynset(writer, set, from, NFT_DYNSET_OP_ADD, 'connlimit', (data) => {
    data.attrU32be(NFTA_CONNLIMIT_COUNT, over).attrU32be(NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
  });
}

function writeDynset(
  writer: MessageWriter,
  set: string,
  from: Register,
  operation: number,
  name: string,
  write: (data: MessageWriter) => void,
): void {
  writer.attrString(NFTA_DYNSET_SET_NAME, set).attrU32be(NFTA_DYNSET_OP, operation);
  writer.attrU32be(NFTA_DYNSET_SREG_KEY, registerNumber(from));
  writer.nest(NFTA_DYNSET_EXPR | NLA_F_NESTED, (nest) => {
    nest.attrString(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA | NLA_F_NESTED, write);
  });
}
