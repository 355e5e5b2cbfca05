import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatIpv4, type Ipv4, parseIpv4 } from '../addr/ipv4.ts';
import { type GroupName, parseGroupName } from './group.ts';
import { Groups, type MemberNews } from './groups.ts';
import type { Placed } from './pass.ts';

const [WEB, DB] = [parseGroupName('web'), parseGroupName('db')];

const address = fc.integer({ min: 1, max: 6 }).map((last) => parseIpv4(`10.64.16.${last}`));
const news: fc.Arbitrary<MemberNews> = fc.record({
  group: fc.constantFrom(WEB, DB),
  isAll: fc.boolean(),
  members: fc.array(
    fc.record({ address, owner: fc.option(fc.constantFrom('a on h2', 'b on h3'), { nil: undefined }) }),
    { maxLength: 4 },
  ),
});

/** Address → group and owner, in the simplest way. */
function tellModel(model: Map<Ipv4, string>, { group, isAll, members }: MemberNews): void {
  const last = new Map(members.map((member) => [member.address, member.owner]));
  if (isAll) {
    for (const [key, text] of model) if (text.startsWith(`${group} `) && !last.has(key)) model.delete(key);
  }
  for (const [key, owner] of last) {
    if (owner !== undefined) model.set(key, `${group} ${owner}`);
    else if (model.get(key)?.startsWith(`${group} `) === true) model.delete(key);
  }
}

const keyOf = ({ set, element }: Placed): string => `${set.name} ${element.key.join(' ')}`;

it('leads from what the table has to what is told, by what differs alone', () => {
  fc.assert(
    fc.property(fc.array(fc.array(news, { maxLength: 3 }), { maxLength: 6 }), (turns) => {
      const groups = new Groups();
      const model = new Map<Ipv4, string>();
      const table = new Map<string, Placed>();
      for (const told of turns) {
        const before = new Map(model);
        const { gone, come, left, done } = groups.turn(told);
        for (const one of told) tellModel(model, one);
        // what goes is there, and what comes is not
        for (const one of gone) expect(table.delete(keyOf(one))).toBe(true);
        for (const one of come) {
          expect(table.has(keyOf(one))).toBe(false);
          table.set(keyOf(one), one);
        }
        done();
        const groupOf = (text = ''): string => text.split(' ')[0] ?? '';
        const expected = [...before].filter(([key, text]) => groupOf(text) !== groupOf(model.get(key)));
        expect(new Set(left)).toEqual(new Set(expected.map(([key]) => key)));
      }
      const comments = new Map([...model].map(([key, text]) => [key, text.replace(/^(\S+) (.*)$/, '$2 in $1')]));
      expect(new Set(table.keys())).toEqual(new Set(groups.placed().map(keyOf)));
      const wanted = groups.placed().filter(({ set }) => set.name === 'far_groups');
      expect(new Map(wanted.map(({ element }) => [element.key[0], element.comment]))).toEqual(comments);
      for (const key of model.keys()) expect(groups.farGroupOf(key)).toBe(groupIn(model.get(key)));
    }),
  );
});

const groupIn = (text = ''): string | undefined => text.split(' ')[0];

it('takes over the numbers of an earlier run, and none twice', () => {
  const groups = new Groups();
  const element = (last: number, number: number, group: GroupName): Placed['element'] => ({
    key: [parseIpv4(`10.64.16.${last}`)],
    data: [number],
    comment: `a on h2 in ${group}`,
  });
  const own = new Set([WEB, DB]);
  groups.adopt([], [element(1, 7, WEB), element(2, 7, DB), element(3, 9, WEB)], own);
  expect([groups.numberOf(WEB), groups.numberOf(DB)]).toEqual([7, 8]);
  // what stands there by another number is in the way, and nobody's
  expect(groups.placed().map(({ element: { key } }) => formatIpv4(key[0] as Ipv4))).toEqual([
    '10.64.16.1',
    '10.64.16.1',
  ]);
});

it('says for whom there is no room, and lets them in when there is', () => {
  const groups = new Groups(2);
  const tell = (...members: [last: number, owner?: string][]): void => {
    const told = members.map(([last, owner]) => ({ address: parseIpv4(`10.64.16.${last}`), owner }));
    groups.turn([{ group: WEB, isAll: false, members: told }]).done();
  };
  tell([1, 'a'], [2, 'b'], [3, 'c']);
  expect(groups.problems()).toMatchObject([{ code: 'members_limit', message: expect.stringMatching(/^1 sandboxes/) }]);
  expect(groups.placed()).toHaveLength(4);
  tell([1]);
  expect(groups.problems()).toEqual([]);
  expect(groups.farGroupOf(parseIpv4('10.64.16.3'))).toBe(WEB);
});
