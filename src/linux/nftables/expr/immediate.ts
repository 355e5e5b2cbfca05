import type { MessageWriter } from '../../netlink/message.ts';
import { NFT_REG_VERDICT } from '../constants.ts';
import { writeVerdict } from '../data.ts';
import { NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG } from './constants.ts';
import type { OfKind } from './of-kind.ts';

export function writeImmediate(writer: MessageWriter, { verdict }: OfKind<'verdict'>): void {
  writer.attrU32be(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  writeVerdict(writer, NFTA_IMMEDIATE_DATA, verdict);
}
