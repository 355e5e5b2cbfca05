import type { Family } from '../../plan/ruleset.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import {
  NFNL_SUBSYS_NFTABLES,
  NFPROTO_BRIDGE,
  NFPROTO_INET,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  NFPROTO_NETDEV,
} from './constants.ts';

const FAMILIES = {
  inet: NFPROTO_INET,
  ip: NFPROTO_IPV4,
  ip6: NFPROTO_IPV6,
  bridge: NFPROTO_BRIDGE,
  netdev: NFPROTO_NETDEV,
} as const satisfies Record<Family, number>;

/** struct nfgenmsg: family, version 0, and a resource that only the ends of a batch name. */
export const NFGENMSG_LENGTH = 4;

/** A message of nf_tables about something in a table of this family; `write` adds the attributes. */
export function tableMessage(
  family: Family,
  attempt: string,
  type: number,
  flags: number,
  write: (writer: MessageWriter) => void,
): Request {
  return {
    attempt,
    type: (NFNL_SUBSYS_NFTABLES << 8) | type,
    flags,
    write(writer) {
      writer.u8(FAMILIES[family]).u8(0).u16(0);
      write(writer);
    },
  };
}
