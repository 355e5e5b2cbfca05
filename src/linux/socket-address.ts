import { type Ip, ipBytes, isIpv6 } from '../addr/ip.ts';
import { AF_INET, AF_INET6 } from './route/constants.ts';

/** bytes of struct sockaddr_in, linux/in.h, and of struct sockaddr_in6, linux/in6.h */
export const SOCKADDR_IN = 16;
export const SOCKADDR_IN6 = 28;

/** @param scopeId index of the link that a link-local IPv6 address is reached by; 0 for every other address */
export function socketAddress(address: Ip, port: number, scopeId = 0): Uint8Array {
  const bytes = new Uint8Array(isIpv6(address) ? SOCKADDR_IN6 : SOCKADDR_IN);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, isIpv6(address) ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port, false);
  // before an IPv6 address stands its flow label
  bytes.set(ipBytes(address), isIpv6(address) ? 8 : 4);
  if (isIpv6(address)) view.setUint32(24, scopeId, true);
  return bytes;
}
