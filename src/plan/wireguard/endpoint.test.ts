import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { type Ipv6, parseIpv6 } from '../../addr/ipv6.ts';
import type { Endpoint } from './device.ts';
import { formatEndpoint, parseEndpoint, sameEndpoint } from './endpoint.ts';

const port = fc.nat(0xffff);
const endpoint: fc.Arbitrary<Endpoint> = fc.oneof(
  fc.record({ address: fc.nat(0xffffffff).map((address) => address as Ipv4), port }),
  fc.record(
    {
      address: fc.bigInt(0n, (1n << 128n) - 1n).map((address) => address as Ipv6),
      port,
      scopeId: fc.integer({ min: 1, max: 0xffffffff }),
    },
    { requiredKeys: ['address', 'port'] },
  ),
);

describe('an endpoint', () => {
  it('is read as it is written', () => {
    fc.assert(
      fc.property(endpoint, (one) => {
        expect(parseEndpoint(formatEndpoint(one))).toEqual(one);
      }),
    );
  });

  it('is another one where its link is', () => {
    const one = { address: parseIpv6('fe80::1'), port: 1, scopeId: 2 };
    expect([one, { ...one, scopeId: 3 }, undefined].map((other) => sameEndpoint(one, other))).toEqual([
      true,
      false,
      false,
    ]);
    expect(formatEndpoint(one)).toBe('[fe80::1%2]:1');
    expect(parseEndpoint('[fe80::1%0]:1')).toEqual({ address: one.address, port: 1 });
  });

  it.each([
    '',
    '192.0.2.1',
    '192.0.2.1:',
    '192.0.2.1:65536',
    '192.0.2.1:080',
    '192.0.2.1: 80',
    '2001:db8::1:80',
    '[2001:db8::1]80',
    '[192.0.2.1]:80',
    '[fe80::1%eth0]:80',
    '[fe80::1%4294967296]:80',
    '192.0.2.1%3:80',
    'vpn.example:80',
  ])('is not %j', (text) => {
    expect(() => parseEndpoint(text)).toThrow(expect.objectContaining({ code: expect.stringMatching(/^invalid_/) }));
  });
});
