import type { MessageWriter } from '../../netlink/message.ts';
import { NFT_RT_TCPMSS, NFTA_RT_DREG, NFTA_RT_KEY } from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

export function writeRt(writer: MessageWriter, { into }: OfKind<'rt'>): void {
  writer.attrU32be(NFTA_RT_KEY, NFT_RT_TCPMSS).attrU32be(NFTA_RT_DREG, registerNumber(into));
}
