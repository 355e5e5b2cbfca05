import type { MessageWriter } from '../../netlink/message.ts';
import { writeValue } from '../data.ts';
import { NFT_CMP_EQ, NFT_CMP_NEQ, NFTA_CMP_DATA, NFTA_CMP_OP, NFTA_CMP_SREG } from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

export function writeCmp(writer: MessageWriter, { from, op, value }: OfKind<'cmp'>): void {
  writer.attrU32be(NFTA_CMP_SREG, registerNumber(from));
  writer.attrU32be(NFTA_CMP_OP, op === '==' ? NFT_CMP_EQ : NFT_CMP_NEQ);
  writeValue(writer, NFTA_CMP_DATA, value);
}
