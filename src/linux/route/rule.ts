import { formatPrefix, type Prefix } from '../../addr/prefix.ts';
import type { KernelObject } from '../../plan/state.ts';
import { NLM_F_CREATE, NLM_F_EXCL } from '../netlink/constants.ts';
import type { Request } from '../netlink/socket.ts';
import {
  AF_INET,
  FR_ACT_BLACKHOLE,
  FR_ACT_TO_TBL,
  FRA_DST,
  FRA_IIFNAME,
  FRA_PRIORITY,
  FRA_SRC,
  FRA_TABLE,
  RT_TABLE_UNSPEC,
  RTM_DELRULE,
  RTM_NEWRULE,
} from './constants.ts';

export type PolicyRule = Extract<KernelObject, { kind: 'rule' }>;

export function newPolicyRule(rule: PolicyRule): Request {
  return { ...message('add', rule), type: RTM_NEWRULE, flags: NLM_F_CREATE | NLM_F_EXCL };
}

export function deletePolicyRule(rule: PolicyRule): Request {
  return { ...message('delete', rule), type: RTM_DELRULE, flags: 0 };
}

/** struct fib_rule_hdr, then attributes. */
function message(verb: string, rule: PolicyRule): Pick<Request, 'attempt' | 'write'> {
  const { priority, iif, from, to, table } = rule;
  const of = [from && `from ${formatPrefix(from)}`, to && `to ${formatPrefix(to)}`, `iif ${iif}`];
  return {
    attempt: `${verb} rule ${priority} ${of.filter((words) => words !== undefined).join(' ')}`,
    write(writer) {
      writer
        .u8(AF_INET)
        .u8(to?.length ?? 0)
        .u8(from?.length ?? 0)
        .u8(0);
      writer.u8(RT_TABLE_UNSPEC).u8(0).u8(0);
      writer.u8(table === undefined ? FR_ACT_BLACKHOLE : FR_ACT_TO_TBL).u32(0);
      const address = (type: number, prefix: Prefix | undefined): void => {
        if (prefix !== undefined && prefix.length > 0) writer.attrU32be(type, prefix.address);
      };
      address(FRA_DST, to);
      address(FRA_SRC, from);
      writer.attrString(FRA_IIFNAME, iif).attrU32(FRA_PRIORITY, priority);
      if (table !== undefined) writer.attrU32(FRA_TABLE, table);
    },
  };
}
