import type { Register } from '../../../plan/ruleset.ts';
import { NFT_REG32_00 } from '../constants.ts';

const REGISTER_COUNT = 16;

/** enum nft_registers. @throws RangeError for a register that the machine does not have */
export function registerNumber(register: Register): number {
  if (!Number.isInteger(register) || register < 0 || register >= REGISTER_COUNT) {
    throw new RangeError(`Cannot use register ${register}: there are ${REGISTER_COUNT}`);
  }
  return NFT_REG32_00 + register;
}
