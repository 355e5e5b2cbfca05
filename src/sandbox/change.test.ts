import { describe, expect, it } from 'vitest';
import { parsePrefix } from '../addr/prefix.ts';
import { InputError } from '../errors.ts';
import { changedBy } from './change.ts';
import type { SandboxChange } from './request.ts';
import type { Specification } from './sandbox.ts';

const TEN = parsePrefix('10.0.0.0/8');
const TEST = parsePrefix('192.0.2.0/24');

const former: Specification = {
  topology: 'netns',
  rates: { transmit: { rate: 1_000_000, burst: 100_000 } },
  policy: { egress: 'internet', allow: [TEN], deny: [TEST] },
};

describe('a change', () => {
  it.each<[string, SandboxChange, Partial<Specification>]>([
    ['of nothing', {}, {}],
    ['of parts that are empty', { policy: {}, rates: {} }, {}],
    [
      'of egress leaves the prefixes',
      { policy: { egress: 'none' } },
      { policy: { egress: 'none', allow: [TEN], deny: [TEST] } },
    ],
    [
      'of prefixes takes the place of those',
      { policy: { allow: [TEST], deny: [TEN] } },
      { policy: { egress: 'internet', allow: [TEST], deny: [TEN] } },
    ],
    [
      'to no prefixes',
      { policy: { allow: null, deny: null } },
      { policy: { egress: 'internet', allow: [], deny: [] } },
    ],
    [
      'to a prefix that is denied is kept, for when it is denied no more',
      { policy: { allow: [TEST] } },
      { policy: { egress: 'internet', allow: [TEST], deny: [TEST] } },
    ],
    [
      'of one direction leaves the other',
      { rates: { receive: { rate: 2_000_000 } } },
      { rates: { ...former.rates, receive: { rate: 2_000_000, burst: 1_000_000 } } },
    ],
    [
      'of a rate leaves its burst',
      { rates: { transmit: { rate: 8_000_000 } } },
      { rates: { transmit: { rate: 8_000_000, burst: 100_000 } } },
    ],
    [
      'of a burst leaves its rate',
      { rates: { transmit: { burst: 200_000 } } },
      { rates: { transmit: { rate: 1_000_000, burst: 200_000 } } },
    ],
    [
      'to the burst that follows from the rate',
      { rates: { transmit: { burst: null } } },
      { rates: { transmit: { rate: 1_000_000, burst: 500_000 } } },
    ],
    ['to no limit of a direction', { rates: { transmit: null } }, { rates: {} }],
    ['to no limits', { rates: null }, { rates: {} }],
  ])('%s', (_, change, expected) => {
    expect(changedBy(former, change)).toEqual({ ...former, ...expected });
  });

  it.each<[string, SandboxChange, string]>([
    ['a burst without a rate', { rates: { receive: { burst: 100_000 } } }, 'rates.receive.rate'],
    ['a burst that its rate is too low for', { rates: { transmit: { rate: 300 } } }, 'rates.transmit.burst'],
  ])('cannot leave %s', (_, change, field) => {
    expect(() => changedBy(former, change)).toThrow(InputError);
    expect(() => changedBy(former, change)).toThrow(expect.objectContaining({ code: 'invalid_rate', field }));
  });
});
