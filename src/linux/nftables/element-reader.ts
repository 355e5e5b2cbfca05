import type { ByteLimit, Element, FieldType, Value, Verdict } from '../../plan/ruleset.ts';
import { type Attributes, eachAttribute, readAttributes, readString, readU32be } from '../netlink/attribute.ts';
import {
  NF_ACCEPT,
  NF_DROP,
  NFT_GOTO,
  NFT_JUMP,
  NFT_SET_ELEM_INTERVAL_END,
  NFTA_DATA_VALUE,
  NFTA_DATA_VERDICT,
  NFTA_EXPR_DATA,
  NFTA_SET_ELEM_DATA,
  NFTA_SET_ELEM_EXPR,
  NFTA_SET_ELEM_FLAGS,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_KEY_END,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  NFTA_SET_ELEM_USERDATA,
  NFTA_VERDICT_CHAIN,
  NFTA_VERDICT_CODE,
} from './constants.ts';
import { readByteLimit } from './expr/limit.ts';
import { readFields, valueBefore } from './field.ts';
import { readComment } from './userdata.ts';

/** What must be known of a set to read its elements. */
export type SetShape = {
  readonly key: readonly FieldType[];
  readonly data: readonly FieldType[] | 'verdict' | undefined;
  /** ranges of one field, whose ends are elements of their own */
  readonly isRange: boolean;
};

/** As the kernel keeps it: `isEnd` marks the key after a range. */
export type ObservedElement = Element & { readonly isEnd?: true };

/** The elements in one message of a dump. @throws RangeError where the bytes are not of the set's shape */
export function readElements(attributes: Attributes, shape: SetShape): ObservedElement[] {
  const list = attributes.get(NFTA_SET_ELEM_LIST_ELEMENTS) ?? new Uint8Array();
  return Array.from(eachAttribute(list), ([, bytes]) => readElement(readAttributes(bytes), shape));
}

function readElement(attributes: Attributes, shape: SetShape): ObservedElement {
  const keyBytes = attributes.get(NFTA_SET_ELEM_KEY);
  if (keyBytes === undefined) throw new RangeError('Cannot read an element of a set: it has no key');
  const flags = attributes.get(NFTA_SET_ELEM_FLAGS);
  const last = attributes.get(NFTA_SET_ELEM_KEY_END);
  const data = attributes.get(NFTA_SET_ELEM_DATA);
  const expression = attributes.get(NFTA_SET_ELEM_EXPR);
  const comment = readComment(attributes.get(NFTA_SET_ELEM_USERDATA));
  return {
    key: readKey(keyBytes, shape),
    ...(last === undefined ? {} : { last: readKey(last, shape) }),
    ...(data === undefined || shape.data === undefined ? {} : { data: readData(data, shape.data) }),
    ...(expression === undefined ? {} : { over: readOver(expression) }),
    ...(comment === undefined ? {} : { comment }),
    ...(flags !== undefined && (readU32be(flags) & NFT_SET_ELEM_INTERVAL_END) !== 0 ? { isEnd: true } : {}),
  };
}

function readOver(bytes: Uint8Array): ByteLimit {
  return readByteLimit(readAttributes(readAttributes(bytes).get(NFTA_EXPR_DATA) ?? new Uint8Array()));
}

function readKey(bytes: Uint8Array, shape: SetShape): Value[] {
  return readFields(shape.key, readAttributes(bytes).get(NFTA_DATA_VALUE) ?? new Uint8Array());
}

function readData(bytes: Uint8Array, data: readonly FieldType[] | 'verdict'): readonly Value[] | Verdict {
  const attributes = readAttributes(bytes);
  if (data !== 'verdict') return readFields(data, attributes.get(NFTA_DATA_VALUE) ?? new Uint8Array());
  const verdict = readAttributes(attributes.get(NFTA_DATA_VERDICT) ?? new Uint8Array());
  const code = verdict.get(NFTA_VERDICT_CODE);
  const chain = readString(verdict.get(NFTA_VERDICT_CHAIN) ?? new Uint8Array());
  // signed, for those that are not a hook's own
  switch (code === undefined ? undefined : readU32be(code) | 0) {
    case NF_ACCEPT:
      return 'accept';
    case NF_DROP:
      return 'drop';
    case NFT_GOTO:
      return { goto: chain };
    case NFT_JUMP:
      return { jump: chain };
    default:
      throw new RangeError('Cannot read an element of a map: its verdict is none that Culvert gives');
  }
}

/** Joins each start of a range to the end that follows it, in ascending order; a last one without goes to the top. */
export function joinRanges(elements: readonly ObservedElement[], type: FieldType): Element[] {
  // where one range follows the other at once, the end of the one stands before the start of the other
  const sorted = elements.toSorted(
    (a, b) => byValue(a.key[0], b.key[0]) || Number(b.isEnd === true) - Number(a.isEnd === true),
  );
  const ranges: Element[] = [];
  for (const [index, element] of sorted.entries()) {
    if (element.isEnd === true) continue;
    ranges.push({ ...element, last: [valueBefore(type, sorted[index + 1]?.key[0])] });
  }
  return ranges;
}

function byValue(a: Value = 0, b: Value = 0): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
