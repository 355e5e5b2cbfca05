import { InputError } from '../errors.ts';

declare const brand: unique symbol;

/** An IPv4 address as an unsigned 32-bit integer in host order: 10.0.0.1 is 0x0a000001. */
/** bytes: the least size that every IPv4 link must carry, RFC 791 */
export const LEAST_MTU = 576;

export type Ipv4 = number & { readonly [brand]: 'Ipv4' };

/**
 * Reads four decimal octets. Leading zeros, short forms and hexadecimal are refused: other readers take `010.0.0.1`
 * for octal, and an address that two programs read differently walks past a filter.
 *
 * @throws InputError `invalid_ipv4`
 */
export function parseIpv4(text: string): Ipv4 {
  const octets = text.split('.');
  let value = 0;
  for (const octet of octets) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(octet) || Number(octet) > 255) throw invalid(text);
    value = value * 256 + Number(octet);
  }
  if (octets.length !== 4) throw invalid(text);
  return value as Ipv4;
}

export function formatIpv4(address: Ipv4): string {
  return ipv4Bytes(address).join('.');
}

/** Its four octets, as they stand on the wire. */
export function ipv4Bytes(address: Ipv4): Uint8Array {
  return Uint8Array.of(address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255);
}

/**
 * The address `offset` after `address`.
 *
 * @throws InputError `invalid_ipv4` where the sum leaves the address space
 */
export function addIpv4(address: Ipv4, offset: number): Ipv4 {
  const sum = address + offset;
  if (!Number.isInteger(sum) || sum < 0 || sum > 0xffffffff) throw invalid(`${formatIpv4(address)} + ${offset}`);
  return sum as Ipv4;
}

function invalid(text: string): InputError {
  return new InputError(
    'invalid_ipv4',
    `Cannot read ${JSON.stringify(text)} as an IPv4 address: want four octets, 0 to 255`,
  );
}
