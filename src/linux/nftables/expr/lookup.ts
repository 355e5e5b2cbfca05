import type { MessageWriter } from '../../netlink/message.ts';
import { NFT_REG_VERDICT } from '../constants.ts';
import {
  NFT_LOOKUP_F_INV,
  NFTA_LOOKUP_DREG,
  NFTA_LOOKUP_FLAGS,
  NFTA_LOOKUP_SET,
  NFTA_LOOKUP_SREG,
} from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

export function writeLookup(writer: MessageWriter, { set, from, into, invert }: OfKind<'lookup'>): void {
  writer.attrString(NFTA_LOOKUP_SET, set).attrU32be(NFTA_LOOKUP_SREG, registerNumber(from));
  if (into !== undefined) {
    writer.attrU32be(NFTA_LOOKUP_DREG, into === 'verdict' ? NFT_REG_VERDICT : registerNumber(into));
  }
  if (invert === true) writer.attrU32be(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
}
