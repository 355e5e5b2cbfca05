import type { MessageWriter } from '../../netlink/message.ts';
import {
  NFT_BYTEORDER_HTON,
  NFTA_BYTEORDER_DREG,
  NFTA_BYTEORDER_LEN,
  NFTA_BYTEORDER_OP,
  NFTA_BYTEORDER_SIZE,
  NFTA_BYTEORDER_SREG,
} from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

const BYTES = 2;

export function writeByteorder(writer: MessageWriter, { from, into }: OfKind<'byteorder'>): void {
  writer.attrU32be(NFTA_BYTEORDER_SREG, registerNumber(from)).attrU32be(NFTA_BYTEORDER_DREG, registerNumber(into));
  writer.attrU32be(NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
  writer.attrU32be(NFTA_BYTEORDER_LEN, BYTES).attrU32be(NFTA_BYTEORDER_SIZE, BYTES);
}
