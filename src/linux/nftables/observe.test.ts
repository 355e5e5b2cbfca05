import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Ipv6 } from '../../addr/ipv6.ts';
import type { Mac } from '../../addr/mac.ts';
import { type Element, type NamedSet, type Ruleset, rulesetDigest } from '../../plan/ruleset.ts';
import { readAttributes } from '../netlink/attribute.ts';
import { applyTransaction } from './batch.ts';
import { newElements } from './element.ts';
import { joinRanges, readElements } from './element-reader.ts';
import { observeTable, observeTables } from './observe.ts';
import { replaceRuleset } from './ruleset.ts';
import { newTable } from './table.ts';
import { nft, useOwnNamespace } from './testing/own-namespace.ts';

const own = useOwnNamespace();

const HASH: NamedSet = { name: 'hash', key: ['iface_index', 'ether_addr'], data: ['mark', 'ipv4_addr'], size: 4096 };
const RANGES: NamedSet = { name: 'ranges', key: ['ipv4_addr'], interval: true, size: 4096 };
const RANGES6: NamedSet = { name: 'ranges6', key: ['ipv6_addr'], interval: true, size: 4096 };
const ENDPOINTS: NamedSet = { name: 'endpoints', key: ['ipv6_addr', 'inet_proto', 'inet_service'], size: 4096 };
const SQUARES: NamedSet = { name: 'squares', key: ['ipv4_addr', 'ipv4_addr'], interval: true, size: 4096 };
const LIMITS: NamedSet = { name: 'limits', key: ['iface_index'], size: 4096 };
const VERDICTS: NamedSet = { name: 'verdicts', key: ['mark'], data: 'verdict', size: 4096 };

const ruleset: Ruleset = {
  table: { family: 'inet', name: 'observed' },
  sets: [HASH, RANGES, RANGES6, ENDPOINTS, SQUARES, LIMITS, VERDICTS],
  chains: [
    { name: 'here', rules: [] },
    { name: 'there', rules: [] },
  ],
  elements: [],
};

const LAST = (1n << 128n) - 1n;
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const comment = fc.option(fc.string({ unit: 'grapheme', maxLength: 50 }), { nil: undefined });
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => bytes as Mac);

function withComment(element: Element, text: string | undefined): Element {
  return text === undefined ? element : { ...element, comment: text };
}

const limit = fc.record({ rate: fc.integer({ min: 1, max: 12_500_000_000 }), burst: u32 });

const limitElements = fc.uniqueArray(
  fc.tuple(u32, limit, comment).map(([index, over, text]) => withComment({ key: [index], over }, text)),
  { selector: keyOf, maxLength: 50 },
);

const hashElements = fc.uniqueArray(
  fc
    .tuple(u32, mac, u32, u32, comment)
    .map(([index, address, mark, ip, text]) => withComment({ key: [index, address], data: [mark, ip] }, text)),
  { selector: keyOf, maxLength: 300 },
);

const verdictElements = fc.uniqueArray(
  fc
    .tuple(u32, fc.constantFrom<Element['data']>('accept', 'drop', { goto: 'here' }, { jump: 'there' }), comment)
    .map(([mark, data, text]) => withComment({ key: [mark], ...(data === undefined ? {} : { data }) }, text)),
  { selector: keyOf, maxLength: 50 },
);

/** Ranges from sorted ends, so disjoint; where one ends another may begin at once, up to the last address. */
const rangeElements = fc
  .uniqueArray(fc.oneof(u32, fc.integer({ min: 0, max: 9 }), fc.constant(0xffffffff)), { maxLength: 60 })
  .map((ends) => {
    const sorted = ends.toSorted((a, b) => a - b);
    const pairs = sorted.flatMap((end, index) => (index % 2 === 0 ? [[end, sorted[index + 1] ?? end]] : []));
    return pairs.map(([first = 0, last = 0]): Element => ({ key: [first], last: [last] }));
  });

/** Disjoint by their first field. */
const squareElements = fc
  .tuple(rangeElements, u32, u32)
  .map(([ranges, a, b]) =>
    ranges.map(
      ({ key, last }): Element => ({ key: [...key, Math.min(a, b)], last: [...(last ?? key), Math.max(a, b)] }),
    ),
  );

const u128 = fc.bigInt({ min: 0n, max: LAST }).map((value) => value as Ipv6);

/** As {@link rangeElements}. */
const rangeElements6 = fc
  .uniqueArray(fc.oneof(u128, fc.bigInt({ min: 0n, max: 9n }), fc.constant(LAST)), { maxLength: 60 })
  .map((ends) => {
    const sorted = ends.toSorted((a, b) => (a < b ? -1 : 1)) as Ipv6[];
    return sorted.flatMap((first, index): Element[] =>
      index % 2 === 0 ? [{ key: [first], last: [sorted[index + 1] ?? first] }] : [],
    );
  });

const endpointElements = fc.uniqueArray(
  fc
    .tuple(u128, fc.constantFrom(6, 17), fc.integer({ min: 0, max: 0xffff }), comment)
    .map(([address, protocol, port, text]) => withComment({ key: [address, protocol, port] }, text)),
  { selector: keyOf, maxLength: 300 },
);

function keyOf(element: Element): string {
  return element.key.join(' ');
}

function byKey(elements: readonly Element[] | undefined): Element[] {
  return (elements ?? []).toSorted((a, b) => keyOf(a).localeCompare(keyOf(b)));
}

describe('observing a table', () => {
  it('finds what was put into it', () => {
    fc.assert(
      fc.property(
        hashElements,
        rangeElements,
        squareElements,
        limitElements,
        verdictElements,
        fc.tuple(rangeElements6, endpointElements),
        (hash, ranges, squares, limits, verdicts, [ranges6, endpoints]) => {
          const groups: [NamedSet, Element[]][] = [
            [HASH, hash],
            [RANGES, ranges],
            [RANGES6, ranges6],
            [ENDPOINTS, endpoints],
            [SQUARES, squares],
            [LIMITS, limits],
            [VERDICTS, verdicts],
          ];
          const additions = groups.flatMap(([set, elements]) => newElements(ruleset.table, set, elements));
          applyTransaction(own.netfilter, [...replaceRuleset(ruleset), ...additions]);
          const observed = observeTable(
            own.netfilter,
            ruleset.table,
            groups.map(([set]) => set.name),
          );
          expect(observed?.digest).toBe(rulesetDigest(ruleset));
          for (const [set, elements] of groups)
            expect(byKey(observed?.elements.get(set.name))).toEqual(byKey(elements));
        },
      ),
      { numRuns: 40 },
    );
  });

  it('reads only what it was asked for', () => {
    applyTransaction(own.netfilter, replaceRuleset(ruleset));
    nft('add', 'set', 'inet', 'observed', 'foreign', '{ type ether_type; }');
    const observed = observeTable(own.netfilter, ruleset.table, ['hash', 'absent']);
    expect([...(observed?.elements.keys() ?? [])]).toEqual(['hash']);
    expect(() => observeTable(own.netfilter, ruleset.table, ['foreign'])).toThrow('unknown field type');
  });

  it('tells a table without a digest from none', () => {
    const table = { family: 'bridge', name: 'bare' } as const;
    expect(observeTable(own.netfilter, table)).toBeUndefined();
    applyTransaction(own.netfilter, [newTable(table)]);
    expect(observeTable(own.netfilter, table)).toEqual({ digest: undefined, isDormant: false, elements: new Map() });
    expect(observeTable(own.netfilter, { ...table, family: 'inet' })).toBeUndefined();
    expect(observeTables(own.netfilter, 'bridge')).toEqual([{ name: 'bare', digest: undefined, isDormant: false }]);
  });
});

describe('reading elements', () => {
  it('refuses what is not of their shape and never reads past it', () => {
    const shapes = [
      { key: HASH.key, data: HASH.data, isRange: false },
      { key: VERDICTS.key, data: 'verdict', isRange: false },
    ] as const;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(...shapes), (bytes, shape) => {
        try {
          readElements(new Map([[3, bytes]]), shape);
          readAttributes(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('joins ranges that touch', () => {
    const ends = [
      { key: [5] },
      { key: [5], isEnd: true },
      { key: [1] },
      { key: [9], isEnd: true },
      { key: [0xfffffff0] },
    ] as const;
    expect(joinRanges(ends, 'ipv4_addr')).toEqual([
      { key: [1], last: [4] },
      { key: [5], last: [8] },
      { key: [0xfffffff0], last: [0xffffffff] },
    ]);
  });
});
