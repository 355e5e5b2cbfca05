import type { Element, NamedSet, Table } from '../../plan/ruleset.ts';
import { NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL } from '../netlink/constants.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import {
  NFT_MSG_DELSETELEM,
  NFT_MSG_NEWSETELEM,
  NFT_SET_ELEM_INTERVAL_END,
  NFTA_EXPR_DATA,
  NFTA_EXPR_NAME,
  NFTA_LIST_ELEM,
  NFTA_SET_ELEM_DATA,
  NFTA_SET_ELEM_EXPR,
  NFTA_SET_ELEM_FLAGS,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_KEY_END,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  NFTA_SET_ELEM_LIST_SET,
  NFTA_SET_ELEM_LIST_TABLE,
  NFTA_SET_ELEM_USERDATA,
} from './constants.ts';
import { writeValues, writeVerdict } from './data.ts';
import { writeByteLimit } from './expr/limit.ts';
import { valueAfter } from './field.ts';
import { tableMessage } from './message.ts';
import { isConcatenatedInterval } from './set.ts';
import { tableText } from './table.ts';
import { commentUserdata } from './userdata.ts';

/**
 * How many elements one message takes. They share one attribute, whose length is 16 bits; the longest element has two
 * keys, data and a comment, less than 400 bytes.
 */
const ELEMENTS_PER_MESSAGE = 128;

/** Adds elements; the transaction fails (EEXIST) where one of them is there. */
export function newElements(table: Table, set: NamedSet, elements: readonly Element[]): Request[] {
  return chunked(elements).map((chunk) =>
    elementsMessage(table, set, chunk, 'add', NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL),
  );
}

/** Deletes elements by their keys; the transaction fails (ENOENT) where one of them is not there. */
export function deleteElements(table: Table, set: NamedSet, elements: readonly Element[]): Request[] {
  return chunked(elements).map((chunk) => elementsMessage(table, set, chunk, 'delete', NFT_MSG_DELSETELEM, 0));
}

function chunked(elements: readonly Element[]): (readonly Element[])[] {
  const chunks = [];
  for (let at = 0; at < elements.length; at += ELEMENTS_PER_MESSAGE) {
    chunks.push(elements.slice(at, at + ELEMENTS_PER_MESSAGE));
  }
  return chunks;
}

function elementsMessage(
  table: Table,
  set: NamedSet,
  elements: readonly Element[],
  verb: 'add' | 'delete',
  type: number,
  flags: number,
): Request {
  const what = elements.length === 1 ? 'element' : `${elements.length} elements`;
  const named =
    elements[0]?.comment === undefined ? '' : ` (${elements.length === 1 ? '' : 'first '}${elements[0].comment})`;
  const attempt = `${verb} ${what}${named} ${verb === 'add' ? 'to' : 'of'} set ${set.name} in table ${tableText(table)}`;
  return tableMessage(table.family, attempt, type, flags, (writer) => {
    writer.attrString(NFTA_SET_ELEM_LIST_TABLE, table.name).attrString(NFTA_SET_ELEM_LIST_SET, set.name);
    writer.nest(NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED, (list) => {
      for (const element of elements) {
        if (set.interval === true && !isConcatenatedInterval(set)) writeRange(list, set, element);
        else list.nest(NFTA_LIST_ELEM | NLA_F_NESTED, (nest) => writeElement(nest, set, element));
      }
    });
  });
}

function writeElement(writer: MessageWriter, set: NamedSet, element: Element): void {
  writeValues(writer, NFTA_SET_ELEM_KEY, set.key, element.key);
  if (isConcatenatedInterval(set)) {
    writeValues(writer, NFTA_SET_ELEM_KEY_END, set.key, element.last ?? element.key);
  }
  const { data, over, comment } = element;
  if (data !== undefined) {
    if (set.data === undefined) throw new RangeError(`Cannot give an element of set ${set.name} data: it is no map`);
    if (!Array.isArray(data))
      writeVerdict(writer, NFTA_SET_ELEM_DATA, data as Exclude<typeof data, readonly unknown[]>);
    else if (set.data !== 'verdict') writeValues(writer, NFTA_SET_ELEM_DATA, set.data, data);
    else throw new RangeError(`Cannot give an element of map ${set.name} values: it holds verdicts`);
  }
  if (over !== undefined) {
    writer.nest(NFTA_SET_ELEM_EXPR | NLA_F_NESTED, (nest) => {
      nest
        .attrString(NFTA_EXPR_NAME, 'limit')
        .nest(NFTA_EXPR_DATA | NLA_F_NESTED, (limit) => writeByteLimit(limit, over));
    });
  }
  if (comment !== undefined) writer.attr(NFTA_SET_ELEM_USERDATA, commentUserdata(comment));
}

/** A range of one field is two elements: its first key, and the key after its last, if there is one. */
function writeRange(list: MessageWriter, set: NamedSet, element: Element): void {
  list.nest(NFTA_LIST_ELEM | NLA_F_NESTED, (nest) => writeElement(nest, set, element));
  const [type] = set.key;
  const [last] = element.last ?? element.key;
  const after = type === undefined || last === undefined ? undefined : valueAfter(type, last);
  if (after === undefined) return;
  list.nest(NFTA_LIST_ELEM | NLA_F_NESTED, (nest) => {
    writeValues(nest, NFTA_SET_ELEM_KEY, set.key, [after]);
    nest.attrU32be(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
  });
}
