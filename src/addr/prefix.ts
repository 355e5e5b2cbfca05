import { InputError } from '../errors.ts';
import { formatIpv4, type Ipv4, parseIpv4 } from './ipv4.ts';

/** An IPv4 network: `address` has no bit set past `length` (0 to 32). */
export type Prefix = { readonly address: Ipv4; readonly length: number };

/**
 * Reads `10.0.0.0/8`; a bare address is a /32.
 *
 * @throws InputError `invalid_prefix`, also where host bits are set: `10.0.0.1/8` is one of two things, and guessing
 * which would open or close more than was asked
 */
export function parsePrefix(text: string): Prefix {
  const slash = text.indexOf('/');
  const address = parseIpv4(slash < 0 ? text : text.slice(0, slash));
  const digits = slash < 0 ? '32' : text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]?)$/.test(digits) || Number(digits) > 32) {
    throw new InputError('invalid_prefix', `Cannot read prefix ${JSON.stringify(text)}: want a length of 0 to 32`);
  }
  const length = Number(digits);
  const network = networkOf(address, length);
  if (network !== address) {
    const meant = formatPrefix({ address: network, length });
    throw new InputError('invalid_prefix', `Cannot read prefix ${text}: host bits are set, did you mean ${meant}`);
  }
  return { address, length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIpv4(prefix.address)}/${prefix.length}`;
}

export function firstAddress(prefix: Prefix): Ipv4 {
  return prefix.address;
}

export function lastAddress(prefix: Prefix): Ipv4 {
  return (prefix.address + prefixSize(prefix) - 1) as Ipv4;
}

/** How many addresses, 1 to 2^32. */
export function prefixSize(prefix: Prefix): number {
  return 2 ** (32 - prefix.length);
}

export function prefixHas(prefix: Prefix, address: Ipv4): boolean {
  return networkOf(address, prefix.length) === prefix.address;
}

/** Two prefixes overlap exactly when the shorter one has the longer one's first address. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return a.length <= b.length ? prefixHas(a, b.address) : prefixHas(b, a.address);
}

/** The prefix of this length that holds the address. */
export function prefixAround(address: Ipv4, length: number): Prefix {
  return { address: networkOf(address, length), length };
}

/** Shifts in JavaScript take their count modulo 32, so a length of 0 needs its own case. */
function networkOf(address: Ipv4, length: number): Ipv4 {
  return (length === 0 ? 0 : (address & (0xffffffff << (32 - length))) >>> 0) as Ipv4;
}
