import type { MessageWriter } from '../../netlink/message.ts';
import { NFT_CT_STATE, NFTA_CT_DREG, NFTA_CT_KEY } from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

export function writeCt(writer: MessageWriter, { into }: OfKind<'ct'>): void {
  writer.attrU32be(NFTA_CT_KEY, NFT_CT_STATE).attrU32be(NFTA_CT_DREG, registerNumber(into));
}
