import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Ip, parseIp } from '../../addr/ip.ts';
import { formatIpPrefix, ipPrefixAround, ipPrefixHas, parseIpPrefix } from '../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { InputError } from '../../errors.ts';
import { withOptions } from './options.ts';
import { readTunnelConfig } from './read.ts';
import { corpus } from './testing/corpus.ts';

function sample(name: string): ReturnType<typeof readTunnelConfig> {
  return readTunnelConfig(corpus.find((one) => one.name === name)?.text ?? '');
}

const prefixes = (...texts: readonly string[]) => texts.map(parseIpPrefix);
const texts = (routed: ReturnType<typeof prefixes>) => routed.map(formatIpPrefix);

function failure(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    if (error instanceof InputError) return [error.code, error.field, error.message];
    throw error;
  }
}

describe('what goes through the tunnel', () => {
  it('is what peers may send, the longest prefixes first', () => {
    const config = sample('full-and-lan');
    const { routed, excluded, ...rest } = withOptions(config);
    expect(rest).toEqual(config);
    expect(texts([...routed])).toEqual(['10.66.0.0/24', '172.16.0.0/12', '0.0.0.0/0']);
    expect(excluded).toEqual([]);
  });

  it('is nothing where the config says so', () => {
    expect(withOptions(sample('table-off')).routed).toEqual([]);
    expect(failure(() => withOptions(sample('table-off'), { splitIPs: prefixes('10.0.0.0/8') }))).toEqual([
      'tunnel_options',
      'splitIPs',
      'Cannot route some addresses: the config says Table = off, for no routes; leave out one of the two',
    ]);
  });

  it('is what was asked for, which leaves the device as it is', () => {
    const config = sample('full-halves');
    const { routed, peers } = withOptions(config, { splitIPs: prefixes('10.0.0.0/8', '0.0.0.0/0', '10.0.0.0/8') });
    expect(texts([...routed])).toEqual(['10.0.0.0/8', '0.0.0.0/0']);
    expect(peers).toEqual(config.peers);
  });

  it('is no more than peers may send', () => {
    const config = sample('split-both');
    expect(failure(() => withOptions(config, { splitIPs: prefixes('10.70.1.0/24', '10.66.0.0/23') }))).toEqual([
      'tunnel_options',
      'splitIPs[1]',
      'Cannot route 10.66.0.0/23: 10.66.1.0/24 of it is not among what a peer is allowed to send; name less, or add it to the AllowedIPs of a peer',
    ]);
    expect(failure(() => withOptions(config, { splitIPs: prefixes('::/0') }))).toContain('splitIPs[0]');
    expect(failure(() => withOptions(config, { splitIPs: [] }))).toContain('splitIPs');
  });

  it('is nothing that is excluded', () => {
    const { routed, excluded } = withOptions(sample('full-both'), { excludes: prefixes('192.168.0.0/16', 'fd00::/8') });
    expect(routed).toHaveLength(16 + 8);
    expect(texts([...excluded])).toEqual(['192.168.0.0/16', 'fd00::/8']);
    expect(failure(() => withOptions(sample('split-v4'), { excludes: prefixes('0.0.0.0/0') }))).toEqual([
      'tunnel_options',
      'excludes',
      'Cannot take out what is excluded: nothing is left to go through the tunnel',
    ]);
  });

  it('holds an address where a peer may send it, it was asked for, and it is not excluded', () => {
    const small = fc
      .tuple(fc.nat(255), fc.integer({ min: 24, max: 32 }))
      .map(([last, length]) => ipPrefixAround((0x0a000000 + last) as Ipv4, length));
    const some = fc.array(small, { maxLength: 5 });
    const config = sample('no-peers');
    const [peer] = sample('split-v4').peers;
    if (peer === undefined) throw new Error('It has one');
    fc.assert(
      fc.property(some, fc.option(some, { nil: undefined }), some, (allowedIps, splitIPs, excludes) => {
        const has = (list: typeof allowedIps, address: Ip): boolean => list.some((one) => ipPrefixHas(one, address));
        const all = Array.from({ length: 256 }, (_, last) => (0x0a000000 + last) as Ipv4);
        const wanted = all.filter((one) => has(splitIPs ?? allowedIps, one));
        const isAllowed = wanted.every((one) => has(allowedIps, one)) && splitIPs?.length !== 0;
        const left = wanted.filter((one) => !has(excludes, one));
        const isSaid = isAllowed && (left.length > 0 || wanted.length === 0);
        const act = (): ReturnType<typeof withOptions> =>
          withOptions(
            { ...config, peers: [{ ...peer, allowedIps }] },
            { excludes, ...(splitIPs === undefined ? {} : { splitIPs }) },
          );
        if (!isSaid) expect(failure(act)).toContain('tunnel_options');
        else expect(all.filter((one) => has([...act().routed], one))).toEqual(left);
      }),
      { numRuns: 1000 },
    );
  });

  it('is found soon in the largest config', () => {
    const allowedIps = Array.from({ length: 16_384 }, (_, index) => ipPrefixAround((index * 65_537) as Ipv4, 32));
    const [peer] = sample('split-v4').peers;
    if (peer === undefined) throw new Error('It has one');
    const config = { ...sample('no-peers'), peers: [{ ...peer, allowedIps }] };
    expect(failure(() => withOptions(config, { splitIPs: prefixes('0.0.0.0/0') }))).toContain('splitIPs[0]');
  });
});

describe('options', () => {
  it('say DNS and MTU over the file', () => {
    const dns = { servers: [parseIp('9.9.9.9')], search: [] };
    const { mtu, dns: said } = withOptions(sample('save'), { dns, mtu: 1300 });
    expect([mtu, said]).toEqual([1300, dns]);
  });

  it.each([
    ['full-v6-only-in', 1200, 'with an MTU of 1200 a link has no IPv6, which ::/0 needs; want at least 1280'],
    ['split-both', 1200, 'with an MTU of 1200 a link has no IPv6, which fd66::2/64 needs; want at least 1280'],
    ['split-v4', 500, 'an MTU of 500 is less than IPv4 works with; want at least 576, or none to have it found'],
    ['split-v4', 1e6, 'an MTU of 1000000 is more than a packet may have; want at most 65535'],
    ['split-v4', 1400.5, 'an MTU of 1400.5 is no number of bytes'],
  ])('refuse %s an MTU of %d', (name, mtu, why) => {
    expect(failure(() => withOptions(sample(name), { mtu }))).toEqual([
      'tunnel_options',
      'mtu',
      `Cannot use this MTU: ${why}`,
    ]);
  });

  it('have limits', () => {
    const many = (count: number) => Array.from({ length: count }, (_, at) => ipPrefixAround(at as Ipv4, 32));
    expect(failure(() => withOptions(sample('full-v4'), { splitIPs: many(1025) }))).toContain('splitIPs');
    expect(failure(() => withOptions(sample('full-v4'), { excludes: many(257) }))).toContain('excludes');
  });
});
