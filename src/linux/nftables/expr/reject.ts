import type { MessageWriter } from '../../netlink/message.ts';
import {
  NFT_REJECT_ICMPX_ADMIN_PROHIBITED,
  NFT_REJECT_ICMPX_UNREACH,
  NFTA_REJECT_ICMP_CODE,
  NFTA_REJECT_TYPE,
} from './constants.ts';
import type { OfKind } from './of-kind.ts';

const CODES = { 'admin-prohibited': NFT_REJECT_ICMPX_ADMIN_PROHIBITED } as const satisfies Record<
  OfKind<'reject'>['code'],
  number
>;

/** The codes of `icmpx` stand for one of each family, so that one rule serves both. */
export function writeReject(writer: MessageWriter, { code }: OfKind<'reject'>): void {
  writer.attrU32be(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH).attrU8(NFTA_REJECT_ICMP_CODE, CODES[code]);
}
