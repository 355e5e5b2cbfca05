import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type GroupName, parseGroupName } from './group.ts';
import { markOf, policyIn } from './ruleset/elements.ts';
import type { Specification } from './sandbox.ts';
import { assertVia, parseVia, Vias } from './via.ts';

const OPEN = { egress: 'open', allow: [], deny: [] } as const;
const NONE = { ...OPEN, egress: 'none' } as const;

function wanted(tunnel?: string, group?: string): Specification {
  return {
    topology: 'netns',
    rates: {},
    policy: group === undefined ? NONE : OPEN,
    ...(group === undefined ? {} : { group: parseGroupName(group) }),
    ...(tunnel === undefined ? {} : { via: { tunnel, number: 0 } }),
  };
}

function enterAll(vias: Vias, ...specifications: Specification[]): (number | undefined)[] {
  const assigned = vias.assign(specifications);
  for (const one of assigned) vias.enter(one);
  return assigned.map(({ via }) => via?.number);
}

describe('tunnels of sandboxes', () => {
  it('have the lowest number that is free, those of a group the same', () => {
    const vias = new Vias();
    expect(enterAll(vias, wanted('a'), wanted(), wanted('b', 'web'), wanted('b', 'web'))).toEqual([1, undefined, 2, 2]);
    vias.leave({ via: { tunnel: 'a', number: 1 } });
    expect(enterAll(vias, wanted('c', 'db'), wanted('b', 'web'))).toEqual([1, 2]);
  });

  it('are one sandbox’s or one group’s, and those of a group leave by the same', () => {
    const vias = new Vias();
    enterAll(vias, wanted('a'), wanted('b', 'web'), wanted(undefined, 'plain'));
    const refuses = (code: string, ...specifications: Specification[]): void =>
      expect(() => vias.assign(specifications)).toThrow(expect.objectContaining({ code }));
    refuses('via_taken', wanted('a'));
    refuses('via_taken', wanted('a', 'other'));
    refuses('via_taken', wanted('b'));
    refuses('via_taken', wanted('b', 'other'));
    refuses('via_taken', wanted('new'), wanted('new'));
    refuses('via_group', wanted(undefined, 'web'));
    refuses('via_group', wanted('new', 'web'));
    refuses('via_group', wanted('new', 'plain'));
    refuses('via_group', wanted('new', 'fresh'), wanted(undefined, 'fresh'));
    // all or none: nothing of what was refused is remembered
    expect(enterAll(vias, wanted('new', 'fresh'))).toEqual([3]);
  });

  it('are kept by those that run', () => {
    const vias = new Vias();
    const [own, member] = vias.assign([wanted('a'), wanted('b', 'web')]) as [Specification, Specification];
    for (const one of [own, member]) vias.enter(one);
    expect(() => vias.assertMayMove(own, { group: 'web' as GroupName })).toThrow(/one of the two leaves by a tunnel/);
    expect(() => vias.assertMayMove(wanted(), { group: 'web' as GroupName })).toThrow(/\(b\)/);
    expect(() => vias.assertMayMove(member, wanted('b'))).toThrow(/\(b\)/);
    vias.assertMayMove(wanted(), wanted(undefined, 'plain'));
    vias.assertMayMove(own, own);
  });

  it('that are a sandbox’s own leave neither policy nor limits to the router', () => {
    assertVia(wanted('a'));
    assertVia(wanted('a', 'web'));
    expect(() => assertVia({ ...wanted('a'), policy: OPEN })).toThrow(/no router sees/);
    const rate = { rate: 1000, burst: 500 };
    expect(() => assertVia({ ...wanted('a'), rates: { receive: rate } })).toThrow(/rates\.receive/);
    expect(() => assertVia({ ...wanted('a'), topology: 'microvm', rates: { transmit: rate } })).toThrow(
      /rates\.transmit/,
    );
    assertVia({ ...wanted('a'), topology: 'microvm', rates: { receive: rate } });
    assertVia({ ...wanted('a', 'web'), rates: { transmit: rate, receive: rate } });
  });

  it('have the names of files, and of none elsewhere', () => {
    expect(['nl1', 'a.b', '...', 'x'.repeat(15)].map(parseVia)).toEqual(['nl1', 'a.b', '...', 'x'.repeat(15)]);
    for (const text of ['', '.', '..', 'a/b', '../x', 'x'.repeat(16), 'a b', 'a\n']) {
      expect(() => parseVia(text)).toThrow(/Cannot use .* as a tunnel/);
    }
  });
});

it('says policy and tunnel in one mark, and never that nothing passes', () => {
  const number = fc.integer({ min: 0, max: 4094 });
  const policy = fc.integer({ min: 1, max: 2 ** 20 - 1 });
  fc.assert(
    fc.property(policy, number, (one, via) => {
      const mark = markOf(one, via);
      expect(policyIn(mark)).toBe(one);
      expect(Math.floor(mark / 2 ** 20)).toBe(via);
      expect(mark).toBeLessThan(0xffffffff);
    }),
  );
});
