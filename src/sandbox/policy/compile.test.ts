import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIpv4, type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import {
  firstAddress,
  formatPrefix,
  lastAddress,
  type Prefix,
  parsePrefix,
  prefixesOverlap,
} from '../../addr/prefix.ts';
import { compilePolicy } from './compile.ts';
import { type Entry, type Interval, intervalsOf, type Verdict, verdictOf } from './intervals.ts';
import { type Egress, type EgressPolicy, MAX_PREFIXES, parsePolicy } from './policy.ts';
import { SPECIAL_PURPOSE } from './special-purpose.ts';

const HOST = ['10.11.0.0/16', '10.12.0.0/16', '10.8.64.0/24'].map(parsePrefix);
const LAST = 0xffffffff;

// The bases once more, in plain text, so that a slip in the tables under test is not repeated by the model.
const LOCAL = ['169.254.0.0/16', '224.0.0.0/4', '127.0.0.0/8', '0.0.0.0/8', '240.0.0.0/4'];
const NOT_PUBLIC = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '192.0.0.0/24',
  '198.18.0.0/15',
  '192.0.2.0/24',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '192.88.99.0/24',
];
const CLOSED: Record<Egress, readonly Prefix[]> = {
  open: [...LOCAL.map(parsePrefix), ...HOST],
  internet: [...LOCAL, ...NOT_PUBLIC].map(parsePrefix).concat(HOST),
  none: [...LOCAL.map(parsePrefix), ...HOST],
};

function holds(prefix: Prefix, address: number): boolean {
  const size = 2 ** (32 - prefix.length);
  return Math.floor(address / size) === Math.floor(prefix.address / size);
}

/** Asks each length in turn, from the longest, and at each length deny, allow and the base in this order. */
function naiveVerdict(policy: EgressPolicy, address: number): Verdict {
  for (let length = 32; length >= 0; length--) {
    const hit = (prefix: Prefix): boolean => prefix.length === length && holds(prefix, address);
    if (policy.deny.some(hit)) return 'drop';
    if (policy.allow.some(hit)) return 'accept';
    if (CLOSED[policy.egress].some(hit)) return 'drop';
  }
  return policy.egress === 'none' ? 'drop' : 'accept';
}

function verdictAt(intervals: readonly Interval[], address: number): Verdict {
  const found = intervals.filter(({ first, last }) => first <= address && address <= last);
  expect(found).toHaveLength(1);
  expect(verdictOf(intervals, address as Ipv4)).toBe(found[0]?.verdict);
  return (found[0] as Interval).verdict;
}

function expectCover(intervals: readonly Interval[]): void {
  let next = 0;
  let before: Verdict | undefined;
  for (const { first, last, verdict } of intervals) {
    expect(first).toBe(next);
    expect(last).toBeGreaterThanOrEqual(first);
    expect(verdict).not.toBe(before);
    next = last + 1;
    before = verdict;
  }
  expect(next).toBe(LAST + 1);
}

/** Both sides of both edges. */
function edgesOf(ranges: readonly { readonly first: number; readonly last: number }[]): number[] {
  return ranges
    .flatMap(({ first, last }) => [first - 1, first, last, last + 1])
    .filter((address) => address >= 0 && address <= LAST);
}

function rangeOf(prefix: Prefix): { first: Ipv4; last: Ipv4 } {
  return { first: firstAddress(prefix), last: lastAddress(prefix) };
}

// Addresses near what is listed anyway, so that prefixes nest in, equal and touch each other and the bases.
const near = fc
  .tuple(fc.constantFrom(...CLOSED.internet, parsePrefix('8.8.8.0/24')), fc.integer({ min: -2, max: 2 }))
  .chain(([prefix, step]) =>
    fc.constantFrom(firstAddress(prefix), lastAddress(prefix)).map((address) => {
      return Math.min(LAST, Math.max(0, address + step));
    }),
  );
const address = fc.oneof(near, fc.integer({ min: 0, max: LAST }));
const prefix = fc.tuple(address, fc.integer({ min: 0, max: 32 })).map(([value, length]): Prefix => {
  const size = 2 ** (32 - length);
  return { address: (Math.floor(value / size) * size) as Ipv4, length };
});
const prefixes = fc.array(prefix, { maxLength: 12 });
const policy: fc.Arbitrary<EgressPolicy> = fc
  .record({ egress: fc.constantFrom<Egress>('open', 'internet', 'none'), allow: prefixes, deny: prefixes })
  // Some prefixes in both lists: the tie is the rule most easily lost.
  .chain((made) => fc.subarray(made.allow).map((both) => ({ ...made, deny: [...made.deny, ...both] })));

/** Single addresses with a gap after each, so that none merge. */
function hosts(octet: number): string[] {
  return Array.from({ length: MAX_PREFIXES }, (_, index) => `${octet}.0.0.${index * 2}`);
}

describe('compiled policies', () => {
  it('judge every address as a naive look-up does', () => {
    fc.assert(
      fc.property(policy, fc.array(address, { maxLength: 20 }), (made, others) => {
        const intervals = compilePolicy(made, HOST);
        expectCover(intervals);
        const written = [...made.allow, ...made.deny, ...CLOSED[made.egress]].map(rangeOf);
        for (const value of new Set([...edgesOf(intervals), ...edgesOf(written), ...others])) {
          const found = `${formatIpv4(value as Ipv4)} ${verdictAt(intervals, value)}`;
          expect(found).toBe(`${formatIpv4(value as Ipv4)} ${naiveVerdict(made, value)}`);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('are the same for the same canonical policy', () => {
    fc.assert(
      fc.property(policy, (made) => {
        const parsed = parsePolicy({
          egress: made.egress,
          allow: made.allow.map(formatPrefix),
          deny: made.deny.map(formatPrefix),
        });
        expect(compilePolicy(parsed, HOST)).toEqual(compilePolicy(made, HOST));
      }),
    );
  });

  it('never let a base undo what is denied', () => {
    fc.assert(
      fc.property(fc.constantFrom<Egress>('open', 'internet', 'none'), prefix, (egress, denied) => {
        const intervals = compilePolicy({ egress, allow: [], deny: [denied] }, HOST);
        for (const value of [firstAddress(denied), lastAddress(denied)])
          expect(verdictAt(intervals, value)).toBe('drop');
      }),
    );
  });

  it('stay small at the limit', () => {
    const full = parsePolicy({ egress: 'internet', allow: hosts(10), deny: hosts(8) });
    const intervals = compilePolicy(full, HOST);
    expectCover(intervals);
    expect(intervals.length).toBeGreaterThan(4 * MAX_PREFIXES);
    const entries = 2 * MAX_PREFIXES + SPECIAL_PURPOSE.length + LOCAL.length + HOST.length + 1;
    expect(intervals.length).toBeLessThanOrEqual(2 * entries + 1);
  });
});

function reach(egress: Egress, to: string, lists: { allow?: string[]; deny?: string[] } = {}): Verdict {
  return verdictAt(compilePolicy(parsePolicy({ egress, ...lists }), HOST), parseIpv4(to));
}

describe.each<Egress>(['open', 'internet', 'none'])('under egress %s', (egress) => {
  it('metadata opens to its own address, not to a prefix that merely holds it', () => {
    const metadata = '169.254.169.254';
    expect(reach(egress, metadata)).toBe('drop');
    expect(reach(egress, metadata, { allow: ['0.0.0.0/0'] })).toBe('drop');
    expect(reach(egress, metadata, { allow: ['0.0.0.0/1', '128.0.0.0/1', '168.0.0.0/6'] })).toBe('drop');
    expect(reach(egress, metadata, { allow: ['169.254.169.254/32'] })).toBe('accept');
    expect(reach(egress, '169.254.169.253', { allow: ['169.254.169.254/32'] })).toBe('drop');
    expect(reach(egress, metadata, { allow: ['169.254.169.254/32'], deny: ['169.254.169.254/32'] })).toBe('drop');
  });

  it('another sandbox opens only when it is named', () => {
    expect(reach(egress, '10.11.0.7')).toBe('drop');
    expect(reach(egress, '10.11.0.7', { allow: ['0.0.0.0/0', '10.0.0.0/8', '10.10.0.0/15'] })).toBe('drop');
    expect(reach(egress, '10.11.0.7', { allow: ['10.11.0.7/32'] })).toBe('accept');
    expect(reach(egress, '10.11.0.8', { allow: ['10.11.0.7/32'] })).toBe('drop');
    expect(reach(egress, '10.11.0.7', { allow: ['10.11.0.0/16'] })).toBe('accept');
  });

  it('the longer prefix wins, whichever list it is in', () => {
    expect(reach(egress, '8.8.8.8', { allow: ['8.8.8.8/32'], deny: ['8.0.0.0/8'] })).toBe('accept');
    expect(reach(egress, '8.8.8.8', { allow: ['8.0.0.0/8'], deny: ['8.8.8.8/32'] })).toBe('drop');
    expect(reach(egress, '8.8.8.8', { allow: ['8.8.8.0/24'], deny: ['8.8.8.0/24'] })).toBe('drop');
    expect(reach(egress, '8.8.8.8', { deny: ['0.0.0.0/0'] })).toBe('drop');
  });
});

/** From each base, the widest first. */
function seen(to: string): Verdict[] {
  return [reach('open', to), reach('internet', to), reach('none', to)];
}

describe('bases', () => {
  it('open reaches private networks, internet only public ones, none nothing', () => {
    expect(seen('8.8.8.8')).toEqual(['accept', 'accept', 'drop']);
    for (const inner of ['10.0.0.1', '172.31.255.255', '192.168.1.1', '100.127.0.1', '192.0.2.1']) {
      expect(seen(inner)).toEqual(['accept', 'drop', 'drop']);
    }
    for (const closed of ['127.0.0.1', '0.0.0.0', '224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255']) {
      expect(seen(closed)).toEqual(['drop', 'drop', 'drop']);
    }
    expect(compilePolicy(parsePolicy({ egress: 'none' }), HOST)).toEqual([{ first: 0, last: LAST, verdict: 'drop' }]);
  });

  it('list special-purpose prefixes in order, none inside another', () => {
    SPECIAL_PURPOSE.reduce((before, here) => {
      expect(before.prefix.address).toBeLessThan(here.prefix.address);
      expect(prefixesOverlap(before.prefix, here.prefix)).toBe(false);
      return here;
    });
  });
});

function accept(text: string): Entry {
  return { prefix: parsePrefix(text), verdict: 'accept', from: 'user' };
}

describe('tables', () => {
  it('drop what nothing matches', () => {
    expect(intervalsOf([])).toEqual([{ first: 0, last: LAST, verdict: 'drop' }]);
  });

  it('merge neighbours that agree', () => {
    const [before, inside, after] = intervalsOf([accept('10.1.0.0/16'), accept('10.0.0.0/16'), accept('10.0.3.0/24')]);
    expect(before?.last).toBe(parseIpv4('9.255.255.255'));
    expect(inside).toEqual({ first: parseIpv4('10.0.0.0'), last: parseIpv4('10.1.255.255'), verdict: 'accept' });
    expect(after).toEqual({ first: parseIpv4('10.2.0.0'), last: LAST, verdict: 'drop' });
  });

  it('settle one prefix by who wrote it, then by the verdict, in whatever order', () => {
    const p = parsePrefix('10.0.0.0/8');
    const weakestFirst: Entry[] = [
      { prefix: p, verdict: 'accept', from: 'base' },
      { prefix: p, verdict: 'drop', from: 'base' },
      { prefix: p, verdict: 'accept', from: 'user' },
      { prefix: p, verdict: 'drop', from: 'user' },
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(weakestFirst, { minLength: 1 }), (some) => {
        const strongest = weakestFirst.findLast((entry) => some.includes(entry));
        expect(verdictAt(intervalsOf(some), p.address)).toBe(strongest?.verdict);
      }),
    );
  });
});
