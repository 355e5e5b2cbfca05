import { isIPv6 } from 'node:net';
import { InputError } from '../errors.ts';

declare const brand: unique symbol;

/** An IPv6 address as an unsigned 128-bit integer in host order: ::1 is 1n. */
export type Ipv6 = bigint & { readonly [brand]: 'Ipv6' };

const GROUPS = 8;

/**
 * Reads what RFC 4291 allows, with the last 32 bits as an IPv4 address too; no zone.
 *
 * @throws InputError `invalid_ipv6`
 */
export function parseIpv6(text: string): Ipv6 {
  if (!isIPv6(text) || text.includes('%')) {
    const message = `Cannot read ${JSON.stringify(text)} as an IPv6 address: want eight groups of up to four hexadecimal digits, as in 2001:db8::1`;
    throw new InputError('invalid_ipv6', message);
  }
  const [head = '', tail] = text.split('::').map(groupsOf);
  const first = head === '' ? [] : head;
  const last = tail === undefined || tail === '' ? [] : tail;
  const zeros = Array.from({ length: GROUPS - first.length - last.length }, () => 0n);
  return [...first, ...zeros, ...last].reduce((sum, group) => (sum << 16n) | group, 0n) as Ipv6;
}

/** As RFC 5952 writes it: the longest run of zeros is short, the first of those that are as long. */
export function formatIpv6(address: Ipv6): string {
  const groups = Array.from({ length: GROUPS }, (_, index) => (address >> BigInt(16 * (GROUPS - 1 - index))) & 0xffffn);
  const { at, length } = longestZeros(groups);
  const text = groups.map((group) => group.toString(16));
  if (length < 2) return text.join(':');
  return `${text.slice(0, at).join(':')}::${text.slice(at + length).join(':')}`;
}

/** Its sixteen octets, as they stand on the wire. */
export function ipv6Bytes(address: Ipv6): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, address >> 64n);
  view.setBigUint64(8, address & 0xffff_ffff_ffff_ffffn);
  return bytes;
}

/** @param bytes sixteen of them */
export function ipv6Of(bytes: Uint8Array): Ipv6 {
  if (bytes.length !== 16) throw new RangeError(`Cannot make an IPv6 address of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return ((view.getBigUint64(0) << 64n) | view.getBigUint64(8)) as Ipv6;
}

function groupsOf(text: string): bigint[] | '' {
  if (text === '') return '';
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return BigInt(`0x${group}`);
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [BigInt(a * 256 + b), BigInt(c * 256 + d)];
  });
}

function longestZeros(groups: readonly bigint[]): { readonly at: number; readonly length: number } {
  let best = { at: 0, length: 0 };
  for (let at = 0; at < groups.length; at++) {
    let length = 0;
    while (at + length < groups.length && groups[at + length] === 0n) length++;
    if (length > best.length) best = { at, length };
  }
  return best;
}
