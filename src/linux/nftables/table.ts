import type { Table } from '../../plan/ruleset.ts';
import { NLM_F_CREATE } from '../netlink/constants.ts';
import type { Request } from '../netlink/socket.ts';
import { NFT_MSG_DELTABLE, NFT_MSG_NEWTABLE, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA } from './constants.ts';
import { tableMessage } from './message.ts';
import { commentUserdata } from './userdata.ts';

/** `inet culvert`, as errors name it */
export function tableText(table: Table): string {
  return `${table.family} ${table.name}`;
}

/** Makes the table, with a comment; one that is there stays as it is, its comment too. */
export function newTable(table: Table, comment?: string): Request {
  return tableMessage(table.family, `add table ${tableText(table)}`, NFT_MSG_NEWTABLE, NLM_F_CREATE, (writer) => {
    writer.attrString(NFTA_TABLE_NAME, table.name);
    if (comment !== undefined) writer.attr(NFTA_TABLE_USERDATA, commentUserdata(comment));
  });
}

/** Deletes the table with everything in it. */
export function deleteTable(table: Table): Request {
  return tableMessage(table.family, `delete table ${tableText(table)}`, NFT_MSG_DELTABLE, 0, (writer) => {
    writer.attrString(NFTA_TABLE_NAME, table.name);
  });
}
