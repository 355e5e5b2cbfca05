import type { Element, Family, Table } from '../../plan/ruleset.ts';
import { type Attributes, readAttributes, readString, readU32be } from '../netlink/attribute.ts';
import type { Message } from '../netlink/message.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import {
  NFT_DATA_VERDICT,
  NFT_MSG_GETSET,
  NFT_MSG_GETSETELEM,
  NFT_MSG_GETTABLE,
  NFT_SET_CONCAT,
  NFT_SET_INTERVAL,
  NFT_TABLE_F_DORMANT,
  NFTA_SET_DATA_TYPE,
  NFTA_SET_ELEM_LIST_SET,
  NFTA_SET_ELEM_LIST_TABLE,
  NFTA_SET_FLAGS,
  NFTA_SET_KEY_TYPE,
  NFTA_SET_NAME,
  NFTA_SET_TABLE,
  NFTA_TABLE_FLAGS,
  NFTA_TABLE_NAME,
  NFTA_TABLE_USERDATA,
} from './constants.ts';
import { joinRanges, type ObservedElement, readElements, type SetShape } from './element-reader.ts';
import { fieldTypes } from './field.ts';
import { NFGENMSG_LENGTH, tableMessage } from './message.ts';
import { tableText } from './table.ts';
import { readComment } from './userdata.ts';

export type ObservedTable = {
  /** of the ruleset that the table was made from; undefined where it says none, so is not ours */
  readonly digest: string | undefined;
  /** its chains are not asked */
  readonly isDormant: boolean;
  /** by set, for each set that was asked for and is there */
  readonly elements: ReadonlyMap<string, readonly Element[]>;
};

type NamedTable = Omit<ObservedTable, 'elements'> & { readonly name: string };

/**
 * Reads the digest of a table and the elements of the named sets: two messages and one dump per set, whatever else
 * the table holds.
 *
 * @returns undefined where there is no such table
 * @throws RangeError where a named set has fields that Culvert does not make
 */
export function observeTable(
  socket: NetlinkSocket,
  table: Table,
  sets: readonly string[] = [],
): ObservedTable | undefined {
  const found = observeTables(socket, table.family).find(({ name }) => name === table.name);
  if (found === undefined) return undefined;
  const elements = new Map<string, readonly Element[]>();
  if (sets.length > 0) {
    for (const { name, shape } of socket.dump(listSets(table), readSet)) {
      if (sets.includes(name)) elements.set(name, dumpElements(socket, table, name, shape()));
    }
  }
  return { digest: found.digest, isDormant: found.isDormant, elements };
}

/** All tables of a family, with what is looked at of {@link observeTable}'s before the sets. */
export function observeTables(socket: NetlinkSocket, family: Family): NamedTable[] {
  const request = tableMessage(family, `list tables of family ${family}`, NFT_MSG_GETTABLE, 0, () => {});
  return socket.dump(request, readTable);
}

function readTable(message: Message): NamedTable {
  const attributes = attributesOf(message);
  const digest = readComment(attributes.get(NFTA_TABLE_USERDATA));
  const flags = readU32be(required(attributes, NFTA_TABLE_FLAGS));
  const isDormant = (flags & NFT_TABLE_F_DORMANT) !== 0;
  return { name: readString(required(attributes, NFTA_TABLE_NAME)), digest, isDormant };
}

function listSets(table: Table): Request {
  const attempt = `list sets of table ${tableText(table)}`;
  return tableMessage(table.family, attempt, NFT_MSG_GETSET, 0, (writer) => {
    writer.attrString(NFTA_SET_TABLE, table.name);
  });
}

/** The shape only when asked for: others may have put sets of any type into the table. */
function readSet(message: Message): { name: string; shape: () => SetShape } {
  const attributes = attributesOf(message);
  const keyType = readU32be(required(attributes, NFTA_SET_KEY_TYPE));
  const flagBytes = attributes.get(NFTA_SET_FLAGS);
  const flags = flagBytes === undefined ? 0 : readU32be(flagBytes);
  const dataBytes = attributes.get(NFTA_SET_DATA_TYPE);
  const dataType = dataBytes === undefined ? undefined : readU32be(dataBytes);
  const shape = (): SetShape => ({
    key: fieldTypes(keyType),
    data: dataType === undefined ? undefined : dataType === NFT_DATA_VERDICT ? 'verdict' : fieldTypes(dataType),
    isRange: (flags & NFT_SET_INTERVAL) !== 0 && (flags & NFT_SET_CONCAT) === 0,
  });
  return { name: readString(required(attributes, NFTA_SET_NAME)), shape };
}

function dumpElements(socket: NetlinkSocket, table: Table, set: string, shape: SetShape): readonly Element[] {
  const attempt = `list elements of set ${set} in table ${tableText(table)}`;
  const request = tableMessage(table.family, attempt, NFT_MSG_GETSETELEM, 0, (writer) => {
    writer.attrString(NFTA_SET_ELEM_LIST_TABLE, table.name).attrString(NFTA_SET_ELEM_LIST_SET, set);
  });
  const read = (message: Message): ObservedElement[] => readElements(attributesOf(message), shape);
  const elements = socket.dump(request, read).flat();
  const [type] = shape.key;
  return shape.isRange && type !== undefined ? joinRanges(elements, type) : elements;
}

function attributesOf(message: Message): Attributes {
  return readAttributes(message.body, NFGENMSG_LENGTH);
}

function required(attributes: Attributes, type: number): Uint8Array {
  const value = attributes.get(type);
  if (value === undefined) throw new RangeError(`Cannot read an answer of nf_tables: attribute ${type} is missing`);
  return value;
}
