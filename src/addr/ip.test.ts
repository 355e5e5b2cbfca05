import { BlockList, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIp, type Ip, ipBits, ipBytes, isIpv6, parseIp } from './ip.ts';
import {
  formatIpPrefix,
  type IpPrefix,
  ipPrefixAround,
  ipPrefixCovers,
  ipPrefixesOverlap,
  ipPrefixHas,
  parseIpInterface,
  parseIpPrefix,
  withoutIpPrefixes,
} from './ip-prefix.ts';
import type { Ipv4 } from './ipv4.ts';
import { type Ipv6, ipv6Of } from './ipv6.ts';

const ipv4: fc.Arbitrary<Ip> = fc.integer({ min: 0, max: 0xffffffff }).map((value) => value as Ipv4);
const dense: fc.Arbitrary<Ip> = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value) => value as Ipv6);
/** with runs of zeros, as people have them */
const sparse: fc.Arbitrary<Ip> = fc
  .array(fc.oneof(fc.constant(0n), fc.constant(0n), fc.bigInt({ min: 0n, max: 0xffffn })), {
    minLength: 8,
    maxLength: 8,
  })
  .map((groups) => groups.reduce((sum, group) => (sum << 16n) | group, 0n) as Ipv6);
const ip = fc.oneof(ipv4, dense, sparse);
const prefix = fc
  .tuple(ip, fc.integer({ min: 0, max: 128 }))
  .map(([address, length]) => ipPrefixAround(address, Math.min(length, ipBits(address))));

/** by the runtime */
function has({ address, length }: IpPrefix, other: Ip): boolean {
  const oracle = new BlockList();
  oracle.addSubnet(formatIp(address), length, isIpv6(address) ? 'ipv6' : 'ipv4');
  return isIpv6(address) === isIpv6(other) && oracle.check(formatIp(other), isIpv6(other) ? 'ipv6' : 'ipv4');
}

describe('addresses of both families', () => {
  it('survive formatting and parsing, and the runtime writes them the same', () => {
    fc.assert(
      fc.property(ip, (address) => {
        const text = formatIp(address);
        expect(parseIp(text)).toBe(address);
        if (!isIpv6(address)) return;
        expect(new URL(`http://[${text}]`).hostname).toBe(`[${text}]`);
        expect(ipv6Of(ipBytes(address))).toBe(address);
      }),
    );
  });

  it('are read exactly where the runtime reads them', () => {
    const group = fc.oneof(fc.constantFrom('', '0', 'g', '12345', '1.2.3.4', '01.2.3.4', ' 1', 'FFFF', 'a', '1'));
    fc.assert(
      fc.property(fc.array(group, { minLength: 2, maxLength: 9 }), (groups) => {
        const text = groups.join(':');
        if (isIPv6(text)) expect(new URL(`http://[${text}]`).hostname).toBe(`[${formatIp(parseIp(text))}]`);
        else expect(() => parseIp(text)).toThrow(/Cannot read/);
      }),
    );
    expect(() => parseIp('fe80::1%eth0')).toThrow(/Cannot read/);
    expect(() => parseIp('1.2.3')).toThrow(/four octets/);
  });
});

describe('prefixes of both families', () => {
  it('hold the addresses that the runtime says they hold', () => {
    fc.assert(
      fc.property(prefix, ip, (network, address) => {
        expect(ipPrefixHas(network, address)).toBe(has(network, address));
        expect(ipPrefixHas(network, network.address)).toBe(true);
        expect(parseIpPrefix(formatIpPrefix(network))).toEqual(network);
      }),
    );
  });

  it('overlap exactly where one covers the other', () => {
    fc.assert(
      fc.property(prefix, prefix, (one, other) => {
        const covers = has(one, other.address) && one.length <= other.length;
        expect(ipPrefixCovers(one, other)).toBe(covers);
        expect(ipPrefixesOverlap(one, other)).toBe(has(one, other.address) || has(other, one.address));
      }),
    );
  });

  it('hold, without others, what they held and the others do not', () => {
    const near = fc.tuple(fc.array(prefix, { maxLength: 4 }), fc.array(prefix, { maxLength: 4 }), ip);
    fc.assert(
      fc.property(near, ([prefixes, without, address]) => {
        const rest = withoutIpPrefixes(prefixes, without);
        const isIn = (list: readonly IpPrefix[]): boolean => list.some((one) => has(one, address));
        expect(isIn(rest)).toBe(isIn(prefixes) && !isIn(without));
      }),
    );
    const text = withoutIpPrefixes([parseIpPrefix('10.0.0.0/8')], [parseIpPrefix('10.1.0.0/16')]).map(formatIpPrefix);
    expect(text).toEqual([
      '10.0.0.0/16',
      '10.2.0.0/15',
      '10.4.0.0/14',
      '10.8.0.0/13',
      '10.16.0.0/12',
      '10.32.0.0/11',
      '10.64.0.0/10',
      '10.128.0.0/9',
    ]);
  });

  it('say what was meant', () => {
    expect(() => parseIpPrefix('fd00::1/64')).toThrow('did you mean fd00::/64');
    expect(() => parseIpPrefix('fd00::/129')).toThrow('0 to 128');
    expect(() => parseIpPrefix('10.0.0.0/33')).toThrow('0 to 32');
    expect(() => parseIpPrefix('10.0.0.0/')).toThrow('0 to 32');
    expect(formatIpPrefix(parseIpInterface('fd00::5/64'))).toBe('fd00::5/64');
    expect(formatIpPrefix(parseIpInterface('fd00::5'))).toBe('fd00::5/128');
  });
});
