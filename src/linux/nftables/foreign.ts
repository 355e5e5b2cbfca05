import type { Family, Rule, Table } from '../../plan/ruleset.ts';
import { readAttributes, readString, readU32be } from '../netlink/attribute.ts';
import { NLM_F_CREATE } from '../netlink/constants.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import {
  NF_DROP,
  NF_INET_FORWARD,
  NFT_MSG_DELRULE,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETRULE,
  NFT_MSG_NEWRULE,
  NFTA_CHAIN_HOOK,
  NFTA_CHAIN_NAME,
  NFTA_CHAIN_POLICY,
  NFTA_CHAIN_TABLE,
  NFTA_HOOK_HOOKNUM,
  NFTA_RULE_CHAIN,
  NFTA_RULE_HANDLE,
  NFTA_RULE_TABLE,
  NFTA_RULE_USERDATA,
} from './constants.ts';
import { NFGENMSG_LENGTH, tableMessage } from './message.ts';
import { writeExpressions } from './rule.ts';
import { tableText } from './table.ts';
import { commentUserdata, readComment } from './userdata.ts';

/*
 * Chains that are others': what they do to packets that are not theirs must be known, and a rule of ours may have to
 * stand among theirs. It is known again by its comment.
 */

export type ForeignChain = {
  readonly table: Table;
  readonly name: string;
  /** Drops every packet that no rule of its accepts. */
  readonly isDropping: boolean;
};

/** A rule with a comment. `handle` is the kernel's number for it, 8 bytes in network order. */
export type ForeignRule = { readonly handle: Uint8Array; readonly comment: string };

/** The chains of a family that judge packets on their way through the host. */
export function listForwards(socket: NetlinkSocket, family: Family): ForeignChain[] {
  const request = tableMessage(family, `list chains of family ${family}`, NFT_MSG_GETCHAIN, 0, () => undefined);
  return socket
    .dump(request, ({ body }) => {
      const attributes = readAttributes(body, NFGENMSG_LENGTH);
      const hook = attributes.get(NFTA_CHAIN_HOOK);
      const policy = attributes.get(NFTA_CHAIN_POLICY);
      const table = attributes.get(NFTA_CHAIN_TABLE);
      const name = attributes.get(NFTA_CHAIN_NAME);
      if (hook === undefined || policy === undefined || table === undefined || name === undefined) return undefined;
      const number = readAttributes(hook).get(NFTA_HOOK_HOOKNUM);
      if (number === undefined || readU32be(number) !== NF_INET_FORWARD) return undefined;
      const isDropping = readU32be(policy) === NF_DROP;
      return { table: { family, name: readString(table) }, name: readString(name), isDropping };
    })
    .filter((chain) => chain !== undefined);
}

/** The rules of a chain that have a comment. */
export function listCommented(socket: NetlinkSocket, { table, name }: ForeignChain): ForeignRule[] {
  const attempt = `list rules of chain ${name} in table ${tableText(table)}`;
  const request = tableMessage(table.family, attempt, NFT_MSG_GETRULE, 0, (writer) => {
    writer.attrString(NFTA_RULE_TABLE, table.name).attrString(NFTA_RULE_CHAIN, name);
  });
  return socket
    .dump(request, ({ body }) => {
      const attributes = readAttributes(body, NFGENMSG_LENGTH);
      const handle = attributes.get(NFTA_RULE_HANDLE);
      const comment = readComment(attributes.get(NFTA_RULE_USERDATA));
      // the receive buffer is used again for the next datagram
      return handle === undefined || comment === undefined ? undefined : { handle: handle.slice(), comment };
    })
    .filter((rule) => rule !== undefined);
}

/** Puts a rule before all others of a chain. */
export function insertRule({ table, name }: ForeignChain, rule: Rule, comment: string): Request {
  const attempt = `insert rule "${comment}" into chain ${name} of table ${tableText(table)}`;
  return tableMessage(table.family, attempt, NFT_MSG_NEWRULE, NLM_F_CREATE, (writer) => {
    writer.attrString(NFTA_RULE_TABLE, table.name).attrString(NFTA_RULE_CHAIN, name);
    writeExpressions(writer, rule);
    writer.attr(NFTA_RULE_USERDATA, commentUserdata(comment));
  });
}

export function deleteRule({ table, name }: ForeignChain, { handle, comment }: ForeignRule): Request {
  const attempt = `delete rule "${comment}" of chain ${name} in table ${tableText(table)}`;
  return tableMessage(table.family, attempt, NFT_MSG_DELRULE, 0, (writer) => {
    writer.attrString(NFTA_RULE_TABLE, table.name).attrString(NFTA_RULE_CHAIN, name).attr(NFTA_RULE_HANDLE, handle);
  });
}
