import type { MessageWriter } from '../../netlink/message.ts';
import {
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

export function writeFib(writer: MessageWriter, { into }: OfKind<'fib'>): void {
  writer.attrU32be(NFTA_FIB_DREG, registerNumber(into)).attrU32be(NFTA_FIB_RESULT, NFT_FIB_RESULT_OIF);
  writer.attrU32be(NFTA_FIB_FLAGS, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT);
}
