import { BlockList, isIPv4 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addIpv4, formatIpv4, type Ipv4, parseIpv4 } from './ipv4.ts';
import { formatMac, parseMac } from './mac.ts';
import {
  firstAddress,
  formatPrefix,
  lastAddress,
  parsePrefix,
  prefixesOverlap,
  prefixHas,
  prefixSize,
} from './prefix.ts';

const ipv4 = fc.integer({ min: 0, max: 0xffffffff }).map((value) => value as Ipv4);
const prefix = fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })).map(([address, length]) => {
  const size = 2 ** (32 - length);
  return parsePrefix(`${formatIpv4((Math.floor(address / size) * size) as Ipv4)}/${length}`);
});

describe('IPv4 addresses', () => {
  it('survive formatting and parsing', () => {
    fc.assert(
      fc.property(ipv4, (address) => {
        expect(parseIpv4(formatIpv4(address))).toBe(address);
      }),
    );
  });

  it('are read exactly where the runtime reads them', () => {
    const octet = fc.oneof(
      fc.integer({ min: 0, max: 300 }).map(String),
      fc.constantFrom('010', '0x7f', '', ' 1', '1e1'),
    );
    fc.assert(
      fc.property(fc.array(octet, { minLength: 1, maxLength: 5 }), (octets) => {
        const text = octets.join('.');
        if (isIPv4(text)) expect(formatIpv4(parseIpv4(text))).toBe(text);
        else expect(() => parseIpv4(text)).toThrow(/Cannot read/);
      }),
    );
  });

  it('never leave the address space', () => {
    expect(formatIpv4(addIpv4(parseIpv4('10.11.255.255'), 1))).toBe('10.12.0.0');
    expect(() => addIpv4(parseIpv4('255.255.255.255'), 1)).toThrow(/255.255.255.255 \+ 1/);
    expect(() => addIpv4(parseIpv4('0.0.0.0'), -1)).toThrow(/0.0.0.0/);
  });
});

describe('prefixes', () => {
  it('hold the addresses that the runtime says they hold', () => {
    fc.assert(
      fc.property(prefix, ipv4, (network, address) => {
        const oracle = new BlockList();
        oracle.addSubnet(formatIpv4(network.address), network.length);
        expect(prefixHas(network, address)).toBe(oracle.check(formatIpv4(address)));
        expect(prefixHas(network, firstAddress(network)) && prefixHas(network, lastAddress(network))).toBe(true);
        expect(lastAddress(network) - firstAddress(network) + 1).toBe(prefixSize(network));
      }),
    );
  });

  it('overlap exactly when their ranges do', () => {
    fc.assert(
      fc.property(prefix, prefix, (a, b) => {
        const ranges = firstAddress(a) <= lastAddress(b) && firstAddress(b) <= lastAddress(a);
        expect(prefixesOverlap(a, b)).toBe(ranges);
      }),
    );
  });

  it('name what was meant when host bits are set', () => {
    expect(() => parsePrefix('10.0.0.1/8')).toThrow('host bits are set, did you mean 10.0.0.0/8');
    expect(() => parsePrefix('10.0.0.0/33')).toThrow(/0 to 32/);
    expect(() => parsePrefix('10.0.0.0/08')).toThrow(/0 to 32/);
    expect(formatPrefix(parsePrefix('192.0.2.7'))).toBe('192.0.2.7/32');
  });
});

describe('MAC addresses', () => {
  it('survive parsing and formatting', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (octets) => {
        octets[0] = (octets[0] ?? 0) & 0xfe;
        const text = Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join(':');
        expect(formatMac(parseMac(text))).toBe(text);
        expect(formatMac(parseMac(text.toUpperCase()))).toBe(text);
      }),
    );
  });

  it('are refused when malformed or a group address', () => {
    for (const bad of ['', '02:fc:00:00:00', '02:fc:00:00:00:05:06', '02-fc-00-00-00-05', '2:fc:00:00:00:05']) {
      expect(() => parseMac(bad)).toThrow(/six octets/);
    }
    expect(() => parseMac('01:00:5e:00:00:01')).toThrow(/group address/);
  });
});
