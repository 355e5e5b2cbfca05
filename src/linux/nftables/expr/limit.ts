import type { ByteLimit, PacketLimit } from '../../../plan/ruleset.ts';
import { type Attributes, readU32be } from '../../netlink/attribute.ts';
import type { MessageWriter } from '../../netlink/message.ts';
import {
  NFT_LIMIT_F_INV,
  NFT_LIMIT_PKT_BYTES,
  NFT_LIMIT_PKTS,
  NFTA_LIMIT_BURST,
  NFTA_LIMIT_FLAGS,
  NFTA_LIMIT_RATE,
  NFTA_LIMIT_TYPE,
  NFTA_LIMIT_UNIT,
} from './constants.ts';

const SECOND = 1;

export function writeLimit(writer: MessageWriter, { rate, burst }: PacketLimit): void {
  writer.attrU64be(NFTA_LIMIT_RATE, rate).attrU64be(NFTA_LIMIT_UNIT, SECOND);
  writer.attrU32be(NFTA_LIMIT_BURST, burst).attrU32be(NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
}

/** One that ends the rule for packets that are within it. */
export function writeByteLimit(writer: MessageWriter, { rate, burst }: ByteLimit): void {
  writer.attrU64be(NFTA_LIMIT_RATE, rate).attrU64be(NFTA_LIMIT_UNIT, SECOND).attrU32be(NFTA_LIMIT_BURST, burst);
  writer.attrU32be(NFTA_LIMIT_TYPE, NFT_LIMIT_PKT_BYTES).attrU32be(NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
}

/** @throws RangeError where the limit is none that {@link writeByteLimit} makes */
export function readByteLimit(attributes: Attributes): ByteLimit {
  const rate = attributes.get(NFTA_LIMIT_RATE);
  const burst = attributes.get(NFTA_LIMIT_BURST);
  if (rate === undefined || burst === undefined)
    throw new RangeError('Cannot read a limit: it has no rate or no burst');
  return { rate: Number(new DataView(rate.buffer, rate.byteOffset).getBigUint64(0)), burst: readU32be(burst) };
}
