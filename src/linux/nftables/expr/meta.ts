import type { MetaKey } from '../../../plan/ruleset.ts';
import type { MessageWriter } from '../../netlink/message.ts';
import {
  NFT_META_IIF,
  NFT_META_IIFNAME,
  NFT_META_L4PROTO,
  NFT_META_MARK,
  NFT_META_NFPROTO,
  NFT_META_OIF,
  NFT_META_OIFNAME,
  NFT_META_PROTOCOL,
  NFTA_META_DREG,
  NFTA_META_KEY,
  NFTA_META_SREG,
} from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

const KEYS = {
  protocol: NFT_META_PROTOCOL,
  mark: NFT_META_MARK,
  iif: NFT_META_IIF,
  oif: NFT_META_OIF,
  iifname: NFT_META_IIFNAME,
  oifname: NFT_META_OIFNAME,
  nfproto: NFT_META_NFPROTO,
  l4proto: NFT_META_L4PROTO,
} as const satisfies Record<MetaKey, number>;

export function writeMeta(writer: MessageWriter, { key, into }: OfKind<'meta'>): void {
  writer.attrU32be(NFTA_META_KEY, KEYS[key]).attrU32be(NFTA_META_DREG, registerNumber(into));
}

export function writeMetaSet(writer: MessageWriter, { key, from }: OfKind<'meta set'>): void {
  writer.attrU32be(NFTA_META_KEY, KEYS[key]).attrU32be(NFTA_META_SREG, registerNumber(from));
}
