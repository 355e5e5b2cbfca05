import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Prefix } from '../../addr/prefix.ts';
import type { NamespaceName } from '../../plan/state.ts';
import { type Attributes, readAttributes, readString, readU32, readU32be } from '../netlink/attribute.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import {
  AF_INET,
  FR_ACT_BLACKHOLE,
  FR_ACT_TO_TBL,
  FRA_DST,
  FRA_IIFNAME,
  FRA_PRIORITY,
  FRA_SRC,
  FRA_TABLE,
  RTM_GETRULE,
} from '../route/constants.ts';
import type { PolicyRule } from '../route/rule.ts';

/** bytes of struct fib_rule_hdr */
const FIB_RULE_HDR_LENGTH = 12;

/** The rules of a namespace that ask for a link by which packets come in, and lead to a table or drop. */
export function listPolicyRules(socket: NetlinkSocket, namespace: NamespaceName): PolicyRule[] {
  const request = {
    attempt: 'list rules',
    type: RTM_GETRULE,
    flags: 0,
    write: (writer: MessageWriter): void => {
      writer.u8(AF_INET).u8(0).u8(0).u8(0).u32(0).u32(0);
    },
  };
  const found = socket.dump(request, ({ body }): PolicyRule | undefined => {
    const attributes = readAttributes(body, FIB_RULE_HDR_LENGTH);
    const iif = attributes.get(FRA_IIFNAME);
    const table = attributes.get(FRA_TABLE);
    const action = body[7];
    if (iif === undefined || table === undefined) return undefined;
    if (action !== FR_ACT_TO_TBL && action !== FR_ACT_BLACKHOLE) return undefined;
    const priority = attributes.get(FRA_PRIORITY);
    const to = prefixIn(attributes, FRA_DST, body[1]);
    const from = prefixIn(attributes, FRA_SRC, body[2]);
    return {
      kind: 'rule',
      namespace,
      // the kernel does not name the first place, 0
      priority: priority === undefined ? 0 : readU32(priority),
      iif: readString(iif),
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      ...(action === FR_ACT_TO_TBL ? { table: readU32(table) } : {}),
    };
  });
  return found.filter((rule) => rule !== undefined);
}

function prefixIn(attributes: Attributes, type: number, length = 0): Prefix | undefined {
  const bytes = attributes.get(type);
  return bytes === undefined ? undefined : { address: readU32be(bytes) as Ipv4, length };
}
