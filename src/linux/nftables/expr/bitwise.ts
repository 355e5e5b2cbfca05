import type { MessageWriter } from '../../netlink/message.ts';
import { writeValue } from '../data.ts';
import {
  NFTA_BITWISE_DREG,
  NFTA_BITWISE_LEN,
  NFTA_BITWISE_MASK,
  NFTA_BITWISE_SREG,
  NFTA_BITWISE_XOR,
} from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

export function writeBitwise(writer: MessageWriter, { from, into, mask }: OfKind<'bitwise'>): void {
  writer.attrU32be(NFTA_BITWISE_SREG, registerNumber(from)).attrU32be(NFTA_BITWISE_DREG, registerNumber(into));
  writer.attrU32be(NFTA_BITWISE_LEN, mask.length);
  writeValue(writer, NFTA_BITWISE_MASK, mask);
  writeValue(writer, NFTA_BITWISE_XOR, new Uint8Array(mask.length));
}
