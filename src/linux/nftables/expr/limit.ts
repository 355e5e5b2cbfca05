import type { MessageWriter } from '../../netlink/message.ts';
import { NFT_LIMIT_PKTS, NFTA_LIMIT_BURST, NFTA_LIMIT_RATE, NFTA_LIMIT_TYPE, NFTA_LIMIT_UNIT } from './constants.ts';
import type { OfKind } from './of-kind.ts';

const SECOND = 1;

export function writeLimit(writer: MessageWriter, { rate, burst }: OfKind<'limit'>): void {
  writer.attrU64be(NFTA_LIMIT_RATE, rate).attrU64be(NFTA_LIMIT_UNIT, SECOND);
  writer.attrU32be(NFTA_LIMIT_BURST, burst).attrU32be(NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
}
