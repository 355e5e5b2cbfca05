import type { Chain, Hook, Table } from '../../plan/ruleset.ts';
import { readAttributes, readU32be } from '../netlink/attribute.ts';
import { NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL } from '../netlink/constants.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import { SyscallError } from '../syscall.ts';
import {
  NF_ACCEPT,
  NF_DROP,
  NF_INET_FORWARD,
  NF_INET_LOCAL_IN,
  NF_INET_LOCAL_OUT,
  NF_INET_POST_ROUTING,
  NF_INET_PRE_ROUTING,
  NF_NETDEV_INGRESS,
  NFT_MSG_DELCHAIN,
  NFT_MSG_GETCHAIN,
  NFT_MSG_NEWCHAIN,
  NFTA_CHAIN_HOOK,
  NFTA_CHAIN_NAME,
  NFTA_CHAIN_POLICY,
  NFTA_CHAIN_TABLE,
  NFTA_CHAIN_TYPE,
  NFTA_HOOK_DEV,
  NFTA_HOOK_HOOKNUM,
  NFTA_HOOK_PRIORITY,
} from './constants.ts';
import { NFGENMSG_LENGTH, tableMessage } from './message.ts';
import { tableText } from './table.ts';

/** enum nf_inet_hooks and enum nf_br_hooks have the same numbers */
const HOOKS = {
  ingress: NF_NETDEV_INGRESS,
  prerouting: NF_INET_PRE_ROUTING,
  input: NF_INET_LOCAL_IN,
  forward: NF_INET_FORWARD,
  output: NF_INET_LOCAL_OUT,
  postrouting: NF_INET_POST_ROUTING,
} as const satisfies Record<Hook, number>;

/** Makes the chain, empty: its rules may go to chains that come later. */
export function newChain(table: Table, chain: Chain): Request {
  const { name, base } = chain;
  const attempt = `add chain ${name} to table ${tableText(table)}`;
  return tableMessage(table.family, attempt, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, (writer) => {
    writer.attrString(NFTA_CHAIN_TABLE, table.name).attrString(NFTA_CHAIN_NAME, name);
    if (base === undefined) return;
    writer.nest(NFTA_CHAIN_HOOK | NLA_F_NESTED, (hook) => {
      hook.attrU32be(NFTA_HOOK_HOOKNUM, HOOKS[base.hook]).attrU32be(NFTA_HOOK_PRIORITY, base.priority);
      if (base.device !== undefined) hook.attrString(NFTA_HOOK_DEV, base.device);
    });
    writer.attrU32be(NFTA_CHAIN_POLICY, base.policy === 'drop' ? NF_DROP : NF_ACCEPT);
    writer.attrString(NFTA_CHAIN_TYPE, base.type);
  });
}

/** Deletes the chain with its rules. The kernel refuses (EBUSY) while a rule or an element goes to it. */
export function deleteChain(table: Table, name: string): Request {
  const attempt = `delete chain ${name} of table ${tableText(table)}`;
  return tableMessage(table.family, attempt, NFT_MSG_DELCHAIN, 0, (writer) => {
    writer.attrString(NFTA_CHAIN_TABLE, table.name).attrString(NFTA_CHAIN_NAME, name);
  });
}

type Policy = NonNullable<Chain['base']>['policy'];

/**
 * What becomes of packets that no rule of these chains decides; undefined where there is no such chain, or it has none.
 *
 * @param socket of NETLINK_NETFILTER, in the namespace of the table
 */
export function chainPolicies(socket: NetlinkSocket, table: Table, names: readonly string[]): (Policy | undefined)[] {
  if (names.length === 0) return [];
  const requests = names.map((name) => {
    const attempt = `read chain ${name} of table ${tableText(table)}`;
    return tableMessage(table.family, attempt, NFT_MSG_GETCHAIN, 0, (writer) => {
      writer.attrString(NFTA_CHAIN_TABLE, table.name).attrString(NFTA_CHAIN_NAME, name);
    });
  });
  const answers = socket.ask(requests, ({ body }): Policy | 'none' => {
    const policy = readAttributes(body, NFGENMSG_LENGTH).get(NFTA_CHAIN_POLICY);
    if (policy === undefined) return 'none';
    return readU32be(policy) === NF_DROP ? 'drop' : 'accept';
  });
  return answers.map((answer) => (answer instanceof SyscallError || answer === 'none' ? undefined : answer));
}
