import { formatIpPrefix, type IpPrefix } from '../../addr/ip-prefix.ts';
import { type KernelObject, ruleFamily } from '../../plan/state.ts';
import { NLM_F_CREATE, NLM_F_EXCL } from '../netlink/constants.ts';
import type { Request } from '../netlink/socket.ts';
import {
  FIB_RULE_INVERT,
  FR_ACT_BLACKHOLE,
  FR_ACT_TO_TBL,
  FRA_DST,
  FRA_FWMARK,
  FRA_FWMASK,
  FRA_IIFNAME,
  FRA_OIFNAME,
  FRA_PRIORITY,
  FRA_PROTOCOL,
  FRA_SRC,
  FRA_SUPPRESS_PREFIXLEN,
  FRA_TABLE,
  RT_TABLE_UNSPEC,
  RTM_DELRULE,
  RTM_NEWRULE,
} from './constants.ts';
import { familyNumber, writeIp } from './family.ts';

export type PolicyRule = Extract<KernelObject, { kind: 'rule' }>;

export function newPolicyRule(rule: PolicyRule): Request {
  return { ...message('add', rule), type: RTM_NEWRULE, flags: NLM_F_CREATE | NLM_F_EXCL };
}

export function deletePolicyRule(rule: PolicyRule): Request {
  return { ...message('delete', rule), type: RTM_DELRULE, flags: 0 };
}

/** All bits of a mark. */
export const WHOLE_MARK = 0xffffffff;

/** struct fib_rule_hdr, then attributes. */
function message(verb: string, rule: PolicyRule): Pick<Request, 'attempt' | 'write'> {
  const { priority, iif, oif, from, to, mark, inverted, suppressPrefixLength, protocol, table } = rule;
  const of = [from && `from ${formatIpPrefix(from)}`, to && `to ${formatIpPrefix(to)}`, iif && `iif ${iif}`];
  return {
    attempt: [`${verb} rule ${priority}`, ...of.filter((words) => words !== undefined)].join(' '),
    write(writer) {
      writer
        .u8(familyNumber(ruleFamily(rule)))
        .u8(to?.length ?? 0)
        .u8(from?.length ?? 0)
        .u8(0);
      writer.u8(RT_TABLE_UNSPEC).u8(0).u8(0);
      writer.u8(table === undefined ? FR_ACT_BLACKHOLE : FR_ACT_TO_TBL).u32(inverted === true ? FIB_RULE_INVERT : 0);
      const address = (type: number, prefix: IpPrefix | undefined): void => {
        if (prefix !== undefined && prefix.length > 0) writeIp(writer, type, prefix.address);
      };
      address(FRA_DST, to);
      address(FRA_SRC, from);
      if (iif !== undefined) writer.attrString(FRA_IIFNAME, iif);
      if (oif !== undefined) writer.attrString(FRA_OIFNAME, oif);
      writer.attrU32(FRA_PRIORITY, priority);
      if (mark !== undefined) writer.attrU32(FRA_FWMARK, mark.value).attrU32(FRA_FWMASK, mark.mask ?? WHOLE_MARK);
      if (suppressPrefixLength !== undefined) writer.attrU32(FRA_SUPPRESS_PREFIXLEN, suppressPrefixLength);
      if (protocol !== undefined) writer.attrU8(FRA_PROTOCOL, protocol);
      if (table !== undefined) writer.attrU32(FRA_TABLE, table);
    },
  };
}
