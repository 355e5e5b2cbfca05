import type { NamedSet, Table } from '../../plan/ruleset.ts';
import { NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL } from '../netlink/constants.ts';
import type { Request } from '../netlink/socket.ts';
import {
  NFT_DATA_VERDICT,
  NFT_MSG_DELSET,
  NFT_MSG_NEWSET,
  NFT_SET_CONCAT,
  NFT_SET_EVAL,
  NFT_SET_INTERVAL,
  NFT_SET_MAP,
  NFT_SET_TIMEOUT,
  NFTA_LIST_ELEM,
  NFTA_SET_DATA_LEN,
  NFTA_SET_DATA_TYPE,
  NFTA_SET_DESC,
  NFTA_SET_DESC_CONCAT,
  NFTA_SET_DESC_SIZE,
  NFTA_SET_FIELD_LEN,
  NFTA_SET_FLAGS,
  NFTA_SET_ID,
  NFTA_SET_KEY_LEN,
  NFTA_SET_KEY_TYPE,
  NFTA_SET_NAME,
  NFTA_SET_TABLE,
  NFTA_SET_TIMEOUT,
  NFTA_SET_USERDATA,
} from './constants.ts';
import { fieldLengths, isHostOrder, keyLength, typeNumber } from './field.ts';
import { tableMessage } from './message.ts';
import { tableText } from './table.ts';
import { HOST_ORDER_DATA, HOST_ORDER_KEY } from './userdata.ts';

export function newSet(table: Table, set: NamedSet): Request {
  const attempt = `add ${set.data === undefined ? 'set' : 'map'} ${set.name} to table ${tableText(table)}`;
  return tableMessage(table.family, attempt, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, (writer) => {
    writer.attrString(NFTA_SET_TABLE, table.name).attrString(NFTA_SET_NAME, set.name);
    writer.attrU32be(NFTA_SET_FLAGS, flagsOf(set));
    writer.attrU32be(NFTA_SET_KEY_TYPE, typeNumber(set.key)).attrU32be(NFTA_SET_KEY_LEN, keyLength(set.key));
    if (set.data === 'verdict') writer.attrU32be(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
    else if (set.data !== undefined) {
      writer.attrU32be(NFTA_SET_DATA_TYPE, typeNumber(set.data)).attrU32be(NFTA_SET_DATA_LEN, keyLength(set.data));
    }
    if (set.expiresMs !== undefined) writer.attrU64be(NFTA_SET_TIMEOUT, set.expiresMs);
    writer.nest(NFTA_SET_DESC | NLA_F_NESTED, (desc) => {
      desc.attrU32be(NFTA_SET_DESC_SIZE, set.size);
      if (!isConcatenatedInterval(set)) return;
      desc.nest(NFTA_SET_DESC_CONCAT | NLA_F_NESTED, (concat) => {
        for (const length of fieldLengths(set.key)) {
          concat.nest(NFTA_LIST_ELEM | NLA_F_NESTED, (field) => field.attrU32be(NFTA_SET_FIELD_LEN, length));
        }
      });
    });
    // Names a set within its batch, for rules that cannot name it; ours all can, but the kernel wants the attribute.
    writer.attrU32be(NFTA_SET_ID, 1);
    const userdata = [
      ...(isHostOrder(set.key) ? HOST_ORDER_KEY : []),
      ...(hasHostOrderData(set) ? HOST_ORDER_DATA : []),
    ];
    if (userdata.length > 0) writer.attr(NFTA_SET_USERDATA, Uint8Array.from(userdata));
  });
}

/** Deletes the set with its elements. The kernel refuses (EBUSY) while a rule looks into it. */
export function deleteSet(table: Table, name: string): Request {
  const attempt = `delete set ${name} of table ${tableText(table)}`;
  return tableMessage(table.family, attempt, NFT_MSG_DELSET, 0, (writer) => {
    writer.attrString(NFTA_SET_TABLE, table.name).attrString(NFTA_SET_NAME, name);
  });
}

/** Ranges in several dimensions, whose elements have two keys; in one, the ends of ranges are elements themselves. */
export function isConcatenatedInterval(set: NamedSet): boolean {
  return set.interval === true && set.key.length > 1;
}

function hasHostOrderData({ data }: NamedSet): boolean {
  return data !== undefined && data !== 'verdict' && isHostOrder(data);
}

function flagsOf(set: NamedSet): number {
  return (
    (set.interval === true ? NFT_SET_INTERVAL : 0) |
    (isConcatenatedInterval(set) ? NFT_SET_CONCAT : 0) |
    (set.data === undefined ? 0 : NFT_SET_MAP) |
    (set.counting === true ? NFT_SET_EVAL : 0) |
    (set.expiresMs === undefined ? 0 : NFT_SET_EVAL | NFT_SET_TIMEOUT)
  );
}
