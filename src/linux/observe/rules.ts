import type { IpPrefix } from '../../addr/ip-prefix.ts';
import type { Family, NamespaceName } from '../../plan/state.ts';
import { type Attributes, readAttributes, readString, readU32, u32At } from '../netlink/attribute.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import {
  AF_INET6,
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
  RTM_GETRULE,
  RTPROT_KERNEL,
  RTPROT_UNSPEC,
} from '../route/constants.ts';
import { familyNumber, readIp } from '../route/family.ts';
import { type PolicyRule, WHOLE_MARK } from '../route/rule.ts';

export type RuleFilter = {
  /** IPv4 where absent */
  readonly family?: Family | undefined;
  /** that lead to this table */
  readonly table?: number | undefined;
  /** that ask for this link, by name, on either side */
  readonly link?: string | undefined;
  /**
   * Of this protocol only, or of each: each rule says its own then. Where absent rules of any are listed, and are alike
   * whatever they are of.
   */
  readonly protocol?: number | 'each' | undefined;
};

/** bytes of struct fib_rule_hdr */
const FIB_RULE_HDR_LENGTH = 12;

/** The rules of a namespace that lead to a table or drop, but for those that the kernel has made. */
export function listPolicyRules(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  filter: RuleFilter = {},
): PolicyRule[] {
  const request = {
    attempt: 'list rules',
    type: RTM_GETRULE,
    flags: 0,
    write: (writer: MessageWriter): void => {
      writer
        .u8(familyNumber(filter.family ?? 'inet'))
        .u8(0)
        .u8(0)
        .u8(0)
        .u32(0)
        .u32(0);
    },
  };
  const found = socket.dump(request, ({ body }) => readRule(body, namespace, filter));
  return found.filter((rule) => rule !== undefined && isWanted(rule, filter)) as PolicyRule[];
}

function isWanted({ iif, oif, table }: PolicyRule, filter: RuleFilter): boolean {
  if (filter.table !== undefined && table !== filter.table) return false;
  return filter.link === undefined || iif === filter.link || oif === filter.link;
}

function readRule(
  body: Uint8Array,
  namespace: NamespaceName,
  { protocol: wanted }: RuleFilter,
): PolicyRule | undefined {
  const attributes = readAttributes(body, FIB_RULE_HDR_LENGTH);
  const [family, toLength, fromLength, service, , , , action] = body;
  const flags = u32At(body, FLAGS, FLAGS + 4);
  const number = (type: number): number | undefined => {
    const bytes = attributes.get(type);
    return bytes === undefined ? undefined : readU32(bytes);
  };
  const name = (type: number): string | undefined => {
    const bytes = attributes.get(type);
    return bytes === undefined ? undefined : readString(bytes);
  };
  const protocol = attributes.get(FRA_PROTOCOL)?.[0] ?? RTPROT_UNSPEC;
  if (protocol === RTPROT_KERNEL || (typeof wanted === 'number' && protocol !== wanted)) return undefined;
  const table = number(FRA_TABLE);
  if (table === undefined || (action !== FR_ACT_TO_TBL && action !== FR_ACT_BLACKHOLE)) return undefined;
  const [iif, oif] = [name(FRA_IIFNAME), name(FRA_OIFNAME)];
  const to = prefixIn(attributes, FRA_DST, toLength);
  const from = prefixIn(attributes, FRA_SRC, fromLength);
  const [mark, mask] = [number(FRA_FWMARK), number(FRA_FWMASK) ?? WHOLE_MARK];
  const suppressed = number(FRA_SUPPRESS_PREFIXLEN);
  const asksMore = service !== 0 || [...attributes.keys()].some((type) => !SAID.has(type));
  return {
    kind: 'rule',
    namespace,
    // the kernel does not name the first place, 0
    priority: number(FRA_PRIORITY) ?? 0,
    ...(family === AF_INET6 && from === undefined && to === undefined ? { family: 'inet6' } : {}),
    ...(iif === undefined ? {} : { iif }),
    ...(oif === undefined ? {} : { oif }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    // nor a mark of 0, where it has a mask
    ...(mark === undefined && !attributes.has(FRA_FWMASK)
      ? {}
      : { mark: { value: mark ?? 0, ...(mask === WHOLE_MARK ? {} : { mask }) } }),
    ...((flags & FIB_RULE_INVERT) === 0 ? {} : { inverted: true }),
    ...(suppressed === undefined || suppressed === NOT_SUPPRESSED ? {} : { suppressPrefixLength: suppressed }),
    ...(wanted === undefined || protocol === RTPROT_UNSPEC ? {} : { protocol }),
    ...(asksMore ? { asksMore } : {}),
    ...(action === FR_ACT_TO_TBL ? { table } : {}),
  };
}

/** Where struct fib_rule_hdr has its flags. */
const FLAGS = 8;
/** -1 */
const NOT_SUPPRESSED = 0xffffffff;

/** Of these a rule says all that it asks for. */
const SAID: ReadonlySet<number> = new Set([
  FRA_DST,
  FRA_SRC,
  FRA_IIFNAME,
  FRA_OIFNAME,
  FRA_PRIORITY,
  FRA_FWMARK,
  FRA_FWMASK,
  FRA_SUPPRESS_PREFIXLEN,
  FRA_TABLE,
  FRA_PROTOCOL,
]);

function prefixIn(attributes: Attributes, type: number, length = 0): IpPrefix | undefined {
  const bytes = attributes.get(type);
  return bytes === undefined ? undefined : { address: readIp(bytes), length };
}
