import type { MessageWriter } from '../../netlink/message.ts';
import {
  NFT_EXTHDR_OP_TCPOPT,
  NFTA_EXTHDR_LEN,
  NFTA_EXTHDR_OFFSET,
  NFTA_EXTHDR_OP,
  NFTA_EXTHDR_SREG,
  NFTA_EXTHDR_TYPE,
} from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

/** RFC 9293, 3.2: kind 2, whose value is two bytes after the kind and the length. */
const MAXSEG = { kind: 2, offset: 2, length: 2 };

export function writeTcpOptionSet(writer: MessageWriter, { from }: OfKind<'tcp option set'>): void {
  writer.attrU32be(NFTA_EXTHDR_SREG, registerNumber(from)).attrU8(NFTA_EXTHDR_TYPE, MAXSEG.kind);
  writer.attrU32be(NFTA_EXTHDR_OFFSET, MAXSEG.offset).attrU32be(NFTA_EXTHDR_LEN, MAXSEG.length);
  writer.attrU32be(NFTA_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
}
