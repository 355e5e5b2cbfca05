import type { FieldType, Value, Verdict } from '../../plan/ruleset.ts';
import { NLA_F_NESTED } from '../netlink/constants.ts';
import type { MessageWriter } from '../netlink/message.ts';
import {
  NF_ACCEPT,
  NF_DROP,
  NFT_GOTO,
  NFT_JUMP,
  NFTA_DATA_VALUE,
  NFTA_DATA_VERDICT,
  NFTA_VERDICT_CHAIN,
  NFTA_VERDICT_CODE,
} from './constants.ts';
import { writeFields } from './field.ts';

/** An attribute of type `type` that holds the values of a set's fields as NFTA_DATA_VALUE. */
export function writeValues(
  writer: MessageWriter,
  type: number,
  types: readonly FieldType[],
  values: readonly Value[],
): void {
  writer.nest(type | NLA_F_NESTED, (data) => data.nest(NFTA_DATA_VALUE, (nest) => writeFields(nest, types, values)));
}

/** An attribute of type `type` that holds bytes as NFTA_DATA_VALUE. */
export function writeValue(writer: MessageWriter, type: number, value: Uint8Array): void {
  writer.nest(type | NLA_F_NESTED, (data) => data.attr(NFTA_DATA_VALUE, value));
}

/** An attribute of type `type` that holds a verdict as NFTA_DATA_VERDICT. */
export function writeVerdict(writer: MessageWriter, type: number, verdict: Verdict): void {
  writer.nest(type | NLA_F_NESTED, (data) =>
    data.nest(NFTA_DATA_VERDICT | NLA_F_NESTED, (nest) => {
      if (typeof verdict === 'string') {
        nest.attrU32be(NFTA_VERDICT_CODE, verdict === 'drop' ? NF_DROP : NF_ACCEPT);
      } else if ('goto' in verdict) {
        nest.attrU32be(NFTA_VERDICT_CODE, NFT_GOTO).attrString(NFTA_VERDICT_CHAIN, verdict.goto);
      } else nest.attrU32be(NFTA_VERDICT_CODE, NFT_JUMP).attrString(NFTA_VERDICT_CHAIN, verdict.jump);
    }),
  );
}
