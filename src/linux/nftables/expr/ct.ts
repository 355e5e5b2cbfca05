import type { MessageWriter } from '../../netlink/message.ts';
import { NFT_CT_MARK, NFT_CT_STATE, NFT_CT_STATUS, NFTA_CT_DREG, NFTA_CT_KEY, NFTA_CT_SREG } from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

const KEYS = { state: NFT_CT_STATE, status: NFT_CT_STATUS, mark: NFT_CT_MARK } as const satisfies Record<
  OfKind<'ct'>['key'],
  number
>;

export function writeCt(writer: MessageWriter, { key, into }: OfKind<'ct'>): void {
  writer.attrU32be(NFTA_CT_KEY, KEYS[key]).attrU32be(NFTA_CT_DREG, registerNumber(into));
}

export function writeCtSet(writer: MessageWriter, { key, from }: OfKind<'ct set'>): void {
  writer.attrU32be(NFTA_CT_KEY, KEYS[key]).attrU32be(NFTA_CT_SREG, registerNumber(from));
}
