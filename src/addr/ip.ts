import { InputError } from '../errors.ts';
import { formatIpv4, type Ipv4, ipv4Bytes, parseIpv4 } from './ipv4.ts';
import { formatIpv6, type Ipv6, ipv6Bytes, parseIpv6 } from './ipv6.ts';

/** An address of either family. */
export type Ip = Ipv4 | Ipv6;

export function isIpv6(address: Ip): address is Ipv6 {
  return typeof address === 'bigint';
}

/** @throws InputError `invalid_ip` */
export function parseIp(text: string): Ip {
  try {
    return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
  } catch (cause) {
    throw new InputError('invalid_ip', cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

export function formatIp(address: Ip): string {
  return isIpv6(address) ? formatIpv6(address) : formatIpv4(address);
}

/** Its octets, as they stand on the wire: 4 or 16. */
export function ipBytes(address: Ip): Uint8Array {
  return isIpv6(address) ? ipv6Bytes(address) : ipv4Bytes(address);
}

/** 32 or 128. */
export function ipBits(address: Ip): number {
  return isIpv6(address) ? 128 : 32;
}
