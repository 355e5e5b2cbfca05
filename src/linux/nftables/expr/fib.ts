import type { MessageWriter } from '../../netlink/message.ts';
import {
  NFT_FIB_RESULT_ADDRTYPE,
  NFT_FIB_RESULT_OIF,
  NFTA_FIB_DREG,
  NFTA_FIB_F_IIF,
  NFTA_FIB_F_PRESENT,
  NFTA_FIB_F_SADDR,
  NFTA_FIB_FLAGS,
  NFTA_FIB_RESULT,
} from './constants.ts';
import type { OfKind } from './of-kind.ts';
import { registerNumber } from './register.ts';

const QUESTIONS = {
  'saddr . iif': { result: NFT_FIB_RESULT_OIF, flags: NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT },
  'saddr type': { result: NFT_FIB_RESULT_ADDRTYPE, flags: NFTA_FIB_F_SADDR },
} as const satisfies Record<OfKind<'fib'>['key'], { result: number; flags: number }>;

export function writeFib(writer: MessageWriter, { key, into }: OfKind<'fib'>): void {
  const { result, flags } = QUESTIONS[key];
  writer.attrU32be(NFTA_FIB_DREG, registerNumber(into)).attrU32be(NFTA_FIB_RESULT, result);
  writer.attrU32be(NFTA_FIB_FLAGS, flags);
}
