import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isOfTunnel, isResolvedStub, mergeDns, parseResolvConf, renderResolvConf } from './resolv-conf.ts';

const office = {
  tunnel: 'wg0',
  want: { servers: ['10.0.0.53', 'fd00::53'], search: ['corp.example', '~lab.example'] },
};
const lab = { tunnel: 'wg1', want: { servers: ['10.9.0.1'], search: [] } };
const searcher = { tunnel: 'wg2', want: { servers: [], search: ['more.example'] } };
const BELOW =
  'domain home.example\nnameserver 192.0.2.1 \n# nameserver 192.0.2.9\nnameserver fe80::1%eth0\noptions ndots:5\n';

describe('the text of resolv.conf', () => {
  it('has the servers and domains of the tunnel on top', () => {
    expect(renderResolvConf([lab, office], BELOW)).toBe(
      [
        '# Culvert: name servers of tunnel wg1, wg0; what was here comes back when it ends',
        'nameserver 10.0.0.53',
        'nameserver fd00::53',
        'search corp.example',
        '',
      ].join('\n'),
    );
    expect(renderResolvConf([office, lab], BELOW)).toBe(
      '# Culvert: name servers of tunnel wg0, wg1; what was here comes back when it ends\nnameserver 10.9.0.1\n',
    );
  });

  it('leaves who is asked where a tunnel only searches', () => {
    expect(renderResolvConf([searcher], BELOW).split('\n').slice(1)).toEqual([
      'nameserver 192.0.2.1',
      'nameserver fe80::1%eth0',
      'search more.example home.example',
      '',
    ]);
  });

  it('reads what the C library reads', () => {
    expect(parseResolvConf(BELOW)).toEqual({ servers: ['192.0.2.1', 'fe80::1%eth0'], search: ['home.example'] });
    expect(parseResolvConf('search a b\nnameserver nobody\nsearch c\tb')).toEqual({ servers: [], search: ['c', 'b'] });
  });

  it('knows what it has written, and the stub of systemd-resolved', () => {
    expect(isOfTunnel(renderResolvConf([lab], ''))).toBe(true);
    expect(isOfTunnel(BELOW)).toBe(false);
    expect(isResolvedStub(parseResolvConf('nameserver 127.0.0.53\noptions edns0 trust-ad\n'))).toBe(true);
    expect(isResolvedStub(parseResolvConf('nameserver 127.0.0.53\nnameserver 192.0.2.1\n'))).toBe(false);
    expect(isResolvedStub(parseResolvConf(''))).toBe(false);
  });
});

const dns = fc.record({
  servers: fc.uniqueArray(fc.ipV4(), { maxLength: 3 }),
  search: fc.uniqueArray(fc.domain(), { maxLength: 3 }),
});

it('merges to what can be read back, whatever is stacked', () => {
  fc.assert(
    fc.property(fc.array(dns, { minLength: 1, maxLength: 4 }), dns, (wants, below) => {
      const text = [...below.servers.map((server) => `nameserver ${server}`), `search ${below.search.join(' ')}`].join(
        '\n',
      );
      const stack = wants.map((want, index) => ({ tunnel: `wg${index}`, want }));
      expect(parseResolvConf(renderResolvConf(stack, text))).toEqual(mergeDns(wants, below));
    }),
  );
});
