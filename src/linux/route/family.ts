import { type Ip, ipBytes, isIpv6 } from '../../addr/ip.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { ipv6Of } from '../../addr/ipv6.ts';
import type { Family } from '../../plan/state.ts';
import { u32beAt } from '../netlink/attribute.ts';
import type { MessageWriter } from '../netlink/message.ts';
import { AF_INET, AF_INET6 } from './constants.ts';

export function familyNumber(family: Family): number {
  return family === 'inet6' ? AF_INET6 : AF_INET;
}

export function familyOf(address: Ip): number {
  return isIpv6(address) ? AF_INET6 : AF_INET;
}

export function writeIp(writer: MessageWriter, type: number, address: Ip): void {
  if (isIpv6(address)) writer.attr(type, ipBytes(address));
  else writer.attrU32be(type, address);
}

/** The address whose octets stand there. @throws RangeError where they are neither 4 nor 16 */
export function ipAt(bytes: Uint8Array, begin: number, end: number): Ip {
  return end - begin === 16 ? ipv6Of(bytes.subarray(begin, end)) : (u32beAt(bytes, begin, end) as Ipv4);
}

/** {@link ipAt} of a whole value. */
export function readIp(bytes: Uint8Array): Ip {
  return ipAt(bytes, 0, bytes.length);
}
