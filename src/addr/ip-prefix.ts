import { InputError } from '../errors.ts';
import { formatIp, type Ip, ipBits, isIpv6, parseIp } from './ip.ts';
import type { Ipv4 } from './ipv4.ts';
import type { Ipv6 } from './ipv6.ts';
import { prefixAround } from './prefix.ts';

/** A network of either family: `address` has no bit set past `length`. */
export type IpPrefix = { readonly address: Ip; readonly length: number };

/** An address and the length of the network that it is in: what an interface has. */
export type IpInterface = { readonly address: Ip; readonly length: number };

/**
 * Reads `2001:db8::/32` or `10.0.0.0/8`; a bare address is a network of its own.
 *
 * @throws InputError `invalid_prefix`, also where host bits are set
 */
export function parseIpPrefix(text: string): IpPrefix {
  const read = parseIpInterface(text);
  const prefix = ipPrefixAround(read.address, read.length);
  if (prefix.address === read.address) return prefix;
  const message = `Cannot read prefix ${text}: host bits are set, did you mean ${formatIpPrefix(prefix)}`;
  throw new InputError('invalid_prefix', message);
}

/**
 * Reads `10.0.0.5/24`, of which the host bits mean something; a bare address has all bits.
 *
 * @throws InputError `invalid_prefix`, `invalid_ip`
 */
export function parseIpInterface(text: string): IpInterface {
  const slash = text.indexOf('/');
  const address = parseIp(slash < 0 ? text : text.slice(0, slash));
  const bits = ipBits(address);
  const digits = slash < 0 ? String(bits) : text.slice(slash + 1);
  if (/^(0|[1-9][0-9]{0,2})$/.test(digits) && Number(digits) <= bits) return { address, length: Number(digits) };
  throw new InputError('invalid_prefix', `Cannot read prefix ${JSON.stringify(text)}: want a length of 0 to ${bits}`);
}

export function formatIpPrefix({ address, length }: IpPrefix | IpInterface): string {
  return `${formatIp(address)}/${length}`;
}

/** The prefix of this length that holds the address. */
export function ipPrefixAround(address: Ip, length: number): IpPrefix {
  if (!isIpv6(address)) return prefixAround(address, length);
  const past = BigInt(128 - length);
  return { address: ((address >> past) << past) as Ipv6, length };
}

/** None of another family. */
export function ipPrefixHas(prefix: IpPrefix, address: Ip): boolean {
  return (
    isIpv6(prefix.address) === isIpv6(address) && ipPrefixAround(address, prefix.length).address === prefix.address
  );
}

/** Whether all of `inner` is in `outer`. */
export function ipPrefixCovers(outer: IpPrefix, inner: IpPrefix): boolean {
  return outer.length <= inner.length && ipPrefixHas(outer, inner.address);
}

/** Two prefixes overlap exactly when the shorter one has the longer one's first address. */
export function ipPrefixesOverlap(one: IpPrefix, other: IpPrefix): boolean {
  return ipPrefixCovers(one, other) || ipPrefixCovers(other, one);
}

/**
 * What is left of prefixes without others, as the fewest prefixes for each: to take 10.1.0.0/16 from 10.0.0.0/8 leaves
 * eight.
 */
export function withoutIpPrefixes(prefixes: readonly IpPrefix[], without: readonly IpPrefix[]): IpPrefix[] {
  return without
    .reduce((rest: readonly IpPrefix[], one) => rest.flatMap((prefix) => minus(prefix, one)), prefixes)
    .slice();
}

function minus(prefix: IpPrefix, without: IpPrefix): IpPrefix[] {
  if (ipPrefixCovers(without, prefix)) return [];
  if (!ipPrefixCovers(prefix, without)) return [prefix];
  const length = prefix.length + 1;
  return [
    { address: prefix.address, length },
    { address: secondHalf(prefix), length },
  ].flatMap((half) => minus(half, without));
}

/** The first address of the second half. */
function secondHalf({ address, length }: IpPrefix): Ip {
  if (isIpv6(address)) return (address | (1n << BigInt(127 - length))) as Ipv6;
  return (address + 2 ** (31 - length)) as Ipv4;
}
