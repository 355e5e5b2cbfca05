import { randomBytes, randomInt } from 'node:crypto';
import type { IpPrefix } from '../../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../../addr/ipv4.ts';
import { type Ipv6, parseIpv6 } from '../../../addr/ipv6.ts';
import type { Peer } from '../../../plan/wireguard/device.ts';
import { type Key, keyOf } from '../../../plan/wireguard/key.ts';
import { PORT } from './tunnel.ts';

export function randomKey(): Key {
  return keyOf(randomBytes(32));
}

/** Public keys of the peers that tests know by a number; nobody has the private ones. */
const publicKeys = new Map<number, Key>();

function publicKeyOf(number: number): Key {
  const key = publicKeys.get(number) ?? randomKey();
  publicKeys.set(number, key);
  return key;
}

const NOWHERE = parseIpv6('2001:db8:ffff::');

/** Behind an address that no host has a route to, so that nothing is sent there. */
export function somePeer(number: number, allowedIps: readonly IpPrefix[]): Peer {
  const at = number % 100;
  const address = at % 2 === 0 ? ((0xc6336401 + at) as Ipv4) : ((NOWHERE + BigInt(at)) as Ipv6);
  const endpoint = { address, port: PORT };
  return { publicKey: publicKeyOf(number), endpoint, keepalive_s: number % 3, allowedIps };
}

/** Some of eight, each with some of what may be set; what one had another may have the next time. */
export function somePeers(): Peer[] {
  const prefixes = manyPrefixes(0, 16)
    .flatMap((prefix, index) => [prefix, ...manyPrefixes6(index, 1)])
    .toSorted(() => randomInt(2) - 0.5);
  return Array.from({ length: 8 }, (_, number) => number)
    .filter(() => randomInt(3) > 0)
    .map((number) => ({
      ...somePeer(number, prefixes.splice(0, randomInt(4))),
      keepalive_s: randomInt(3) * 10,
      ...(randomInt(2) === 0 ? {} : { presharedKey: randomKey() }),
    }));
}

/** Disjoint ones, of different lengths, behind each other. */
export function manyPrefixes(first: number, count: number): IpPrefix[] {
  return Array.from({ length: count }, (_, index) => {
    const number = first + index;
    return { address: (0x0a000000 + number * 256) as Ipv4, length: 24 + (number % 9) };
  });
}

export function manyPrefixes6(first: number, count: number): IpPrefix[] {
  return Array.from({ length: count }, (_, index) => {
    const number = first + index;
    return { address: (FIRST_PREFIX6 + (BigInt(number) << 64n)) as Ipv6, length: 64 + (number % 65) };
  });
}

const FIRST_PREFIX6 = parseIpv6('fd00::');
