import { NLA_F_NESTED } from '../../netlink/constants.ts';
import type { MessageWriter } from '../../netlink/message.ts';
import { NFTA_EXPR_DATA, NFTA_EXPR_NAME } from '../constants.ts';
import {
  NFT_DYNSET_OP_UPDATE,
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
  writer.attrString(NFTA_DYNSET_SET_NAME, set).attrU32be(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
  writer.attrU32be(NFTA_DYNSET_SREG_KEY, registerNumber(from));
  writer.nest(NFTA_DYNSET_EXPR | NLA_F_NESTED, (nest) => {
    nest.attrString(NFTA_EXPR_NAME, 'limit').nest(NFTA_EXPR_DATA | NLA_F_NESTED, (data) => writeLimit(data, limit));
  });
}
