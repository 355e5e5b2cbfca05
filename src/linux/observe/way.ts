import { formatIp, type Ip, ipBits, isIpv6 } from '../../addr/ip.ts';
import type { Link } from '../../plan/state.ts';
import { readAttributes, readU32 } from '../netlink/attribute.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import {
  RT_TABLE_UNSPEC,
  RTA_DST,
  RTA_GATEWAY,
  RTA_MARK,
  RTA_METRICS,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_TABLE,
  RTA_VIA,
  RTM_F_LOOKUP_TABLE,
  RTM_GETROUTE,
} from '../route/constants.ts';
import { familyOf, readIp, writeIp } from '../route/family.ts';
import { linkName } from '../route/ifreq.ts';
import { SyscallError } from '../syscall.ts';
import { mtuIn, RTMSG_LENGTH } from './routes.ts';

/** How a packet of the namespace's own would go. */
export type Way = {
  readonly link: Link;
  /** the next hop; absent where the link leads there itself */
  readonly via?: Ip;
  /** the address that it would leave with */
  readonly source?: Ip;
  /** bytes, where a route says so or the way was found to be that narrow; else it is the link's */
  readonly mtu?: number;
  /** number of the table that decided */
  readonly table: number;
};

/**
 * Asks as `ip route get` does, by all rules, in the socket's namespace.
 *
 * @param mark of the packet
 * @returns undefined where there is no way, or one that is a dead end
 */
export function findWay(socket: NetlinkSocket, address: Ip, mark?: number): Way | undefined {
  const [answer] = socket.ask([getRoute(address, mark)], ({ body }) => readWay(body));
  if (answer instanceof SyscallError && !NO_WAY.includes(answer.errnoName)) throw answer;
  if (answer === undefined || answer instanceof SyscallError) return undefined;
  const { index, ...way } = answer;
  const name = linkName(socket, index);
  return name === undefined ? undefined : { link: { name, index }, ...way };
}

/** The last but one is said of a blackhole, the last of what a rule or a route prohibits. */
const NO_WAY: readonly string[] = ['ENETUNREACH', 'EHOSTUNREACH', 'EINVAL', 'EACCES'];

function getRoute(address: Ip, mark: number | undefined): Request {
  return {
    attempt: `look for a way to ${formatIp(address)}`,
    type: RTM_GETROUTE,
    flags: 0,
    write(writer) {
      writer.u8(familyOf(address)).u8(ipBits(address)).u8(0).u8(0);
      writer.u8(RT_TABLE_UNSPEC).u8(0).u8(0).u8(0);
      // IPv6 says the table always, and takes no such flag from who wants it to be strict
      writer.u32(isIpv6(address) ? 0 : RTM_F_LOOKUP_TABLE);
      writeIp(writer, RTA_DST, address);
      if (mark !== undefined) writer.attrU32(RTA_MARK, mark);
    },
  };
}

function readWay(body: Uint8Array): Omit<Way, 'link'> & { readonly index: number } {
  const attributes = readAttributes(body, RTMSG_LENGTH);
  const ip = (type: number, at = 0): Ip | undefined => {
    const bytes = attributes.get(type);
    return bytes === undefined ? undefined : readIp(bytes.subarray(at));
  };
  const number = (type: number): number => {
    const bytes = attributes.get(type);
    return bytes === undefined ? 0 : readU32(bytes);
  };
  // struct rtvia begins with the family
  const via = ip(RTA_GATEWAY) ?? ip(RTA_VIA, 2);
  const source = ip(RTA_PREFSRC);
  const metrics = attributes.get(RTA_METRICS);
  const mtu = metrics === undefined ? undefined : mtuIn(metrics);
  return {
    index: number(RTA_OIF),
    ...(via === undefined ? {} : { via }),
    ...(source === undefined ? {} : { source }),
    ...(mtu === undefined ? {} : { mtu }),
    table: number(RTA_TABLE),
  };
}
