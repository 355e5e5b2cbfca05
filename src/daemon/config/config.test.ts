import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPrefix, parsePrefix, prefixesOverlap } from '../../addr/prefix.ts';
import { InputError } from '../../errors.ts';
import { DEFAULT_LAYOUT } from '../../sandbox/topology/layout.ts';
import { layoutOf, parseConfig } from './config.ts';

function refusal(input: unknown): InputError {
  try {
    parseConfig(input);
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error(`Accepted: ${JSON.stringify(input)}`);
}

describe('a config that says nothing', () => {
  it('has every default, and the layout that the topologies are drawn with', () => {
    const config = parseConfig({});
    expect(layoutOf(config, 1420)).toEqual({ ...DEFAULT_LAYOUT, mtu: 1420 });
    expect(config.limits.sandboxes).toBe(32_767);
    expect(config.topology.bridge.policy).toEqual({ egress: 'internet', allow: [], deny: [] });
    expect(config.api.tcp).toBeUndefined();
  });
});

describe('a config that cannot be used', () => {
  it.each([
    [{ ranges: { hots: '10.1.0.0/16' } }, 'ranges.hots', 'invalid_config', /host, link or bridge/],
    [{ colour: 'red' }, 'colour', 'invalid_config', /no such field, want name, stateDir/],
    [[], 'the config', 'invalid_config', /want an object, got an array/],
    [{ mtu: '1500' }, 'mtu', 'invalid_config', /want a number, got "1500"/],
    [{ mtu: 1500.5 }, 'mtu', 'invalid_config', /want an integer/],
    [{ mtu: 68 }, 'mtu', 'invalid_config', /at least 576, got 68/],
    [{ tunnelRoom: 70 }, 'tunnelRoom', 'invalid_config', /want 60 or 80, got 70/],
    [{ name: 'Big Host' }, 'name', 'invalid_config', /1 to 12 of a-z/],
    [{ stateDir: 'state' }, 'stateDir', 'invalid_config', /absolute path/],
    [{ runDir: `/run/${'x'.repeat(100)}` }, 'runDir', 'invalid_config', /longer than 107 bytes/],
    [{ uplink: 'an interface' }, 'uplink', 'invalid_config', /name of a link/],
    [{ ranges: { host: '10.11.0.1/16' } }, 'ranges.host', 'invalid_prefix', /did you mean 10.11.0.0\/16/],
    [{ ranges: { host: '10.11.0.999/16' } }, 'ranges.host', 'invalid_ipv4', /"10.11.0.999"/],
    [
      { topology: { microvm: { guest: { mac: '01:00:00:00:00:01' } } } },
      'topology.microvm.guest.mac',
      'invalid_mac',
      /group/,
    ],
    [{ topology: { netns: { policy: { egress: 'all' } } } }, 'topology.netns.policy.egress', 'invalid_config', /"all"/],
    [
      { topology: { netns: { policy: { egress: 'none', allow: ['10.0.0.0/8', 'x'] } } } },
      'topology.netns.policy.allow[1]',
      'invalid_ipv4',
      /"x"/,
    ],
    [
      { topology: { bridge: { rates: { transmit: { rate: 1 } } } } },
      'topology.bridge.rates.transmit.rate',
      'invalid_config',
      /1000/,
    ],
    [
      { topology: { bridge: { rates: { receive: { rate: 1000, burst: 1_000_000 } } } } },
      'topology.bridge.rates.receive.burst',
      'invalid_rate',
      /at most 250 s/,
    ],
    [{ quarantine: { floorMs: -1 } }, 'quarantine.floorMs', 'invalid_config', /at least 0, got -1/],
    [{ limits: { sandboxes: 40_000 } }, 'limits.sandboxes', 'invalid_config', /at most 32767/],
    [
      { limits: { sandboxes: 300 }, ranges: { host: '10.11.0.0/24' } },
      'limits.sandboxes',
      'invalid_config',
      /hold 254/,
    ],
    [{ ranges: { link: '10.12.0.0/31' } }, 'ranges.link', 'invalid_config', /no room/],
    [{ ranges: { bridge: '10.8.0.0/16' } }, 'ranges.bridge', 'invalid_config', /20 to 29/],
    [{ ranges: { host: '127.0.0.0/16' } }, 'ranges.host', 'invalid_config', /127.0.0.0\/8 is reserved/],
    [
      { topology: { microvm: { guest: { address: '169.254.0.22' } } } },
      'topology.microvm.guest.address',
      'invalid_config',
      /another host/,
    ],
    [
      { topology: { microvm: { guest: { address: '169.254.0.23' } } } },
      'topology.microvm.guest.address',
      'invalid_config',
      /another host/,
    ],
    [
      { topology: { microvm: { tap: { address: '169.254.0.22' } } } },
      'topology.microvm.tap.address',
      'invalid_config',
      /not a host/,
    ],
    [
      { topology: { microvm: { tap: { address: '10.11.0.2/30' } } } },
      'topology.microvm.tap.address',
      'invalid_config',
      /ranges.host/,
    ],
    [{ api: { tcp: { listen: '127.0.0.1:7070' } } }, 'api.tcp.tokenFile', 'invalid_config', /missing/],
    [
      { api: { tcp: { listen: 'localhost:7070', tokenFile: '/t' } } },
      'api.tcp.listen',
      'invalid_config',
      /IPv4 address/,
    ],
    [
      { api: { tcp: { listen: '127.0.0.1:70700', tokenFile: '/t' } } },
      'api.tcp.listen',
      'invalid_config',
      /0 to 65535/,
    ],
  ])('%j is refused at %s', (input, field, code, message) => {
    const error = refusal(input);
    expect({ field: error.field, code: error.code }).toEqual({ field, code });
    expect(error.message).toMatch(message);
  });

  it('has ranges that overlap, and no other that are fit for their use', () => {
    const range = fc
      .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 15 }), fc.integer({ min: 20, max: 28 }))
      .map(([second, third, length]) => parsePrefix(`10.${second}.${third * 16}.0/${length}`));
    fc.assert(
      fc.property(range, range, range, (host, link, bridge) => {
        const overlap = prefixesOverlap(host, link) || prefixesOverlap(host, bridge) || prefixesOverlap(link, bridge);
        const input = {
          ranges: { host: formatPrefix(host), link: formatPrefix(link), bridge: formatPrefix(bridge) },
        };
        if (overlap) expect(refusal(input).message).toMatch(/^Cannot use 10.* as ranges\.\w+: it overlaps/);
        else expect(parseConfig(input).ranges).toEqual({ host, link, bridge });
      }),
    );
  });

  it('is refused whatever it is', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (input) => {
        const isEmpty =
          typeof input === 'object' && input !== null && !Array.isArray(input) && Reflect.ownKeys(input).length === 0;
        fc.pre(!isEmpty);
        expect(refusal(input)).toBeInstanceOf(InputError);
      }),
    );
  });
});
