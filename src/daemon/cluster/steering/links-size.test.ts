import { beforeEach, expect, it } from 'vitest';
import { LinksSize } from './links-size.ts';

const RAISED = { mtu: 1500, formerMtu: 1420 } as const;
const LOWERED = { mtu: 1320, formerMtu: 1420 } as const;

let room: number;
let links: LinksSize;

beforeEach(() => {
  room = 1500;
  links = new LinksSize(1420, () => room);
});

it('is raised before packets are, and lowered after', () => {
  const begun = { ...RAISED, phase: 'accept' } as const;
  expect([links.wanted(begun), links.whole(begun), links.unbounded(begun)]).toEqual([1500, 1420, 1500]);
  expect(links.took(1500)).toBe(true);
  expect(links.took(1500)).toBe(false);
  expect(links.whole({ ...RAISED, phase: 'send' })).toBe(1500);
  expect(links.took(1420)).toBe(true);
  expect([links.wanted({ ...LOWERED, phase: 'send' }), links.whole({ ...LOWERED, phase: 'send' })]).toEqual([
    1420, 1320,
  ]);
  expect(links.wanted({ ...LOWERED, phase: 'drop' })).toBe(1320);
});

it('stays as it is where the uplink takes less, and says so', () => {
  room = 1450;
  const begun = { ...RAISED, phase: 'accept' } as const;
  expect(links.wanted(begun)).toBe(1420);
  expect(links.problems(begun).map(({ message }) => message)).toEqual([
    'This host cannot take packets of 1500 bytes as the cluster is to, and keeps the change from going on: its uplink takes 1450; raise the uplink’s MTU by 50, or lower the cluster’s: culvert mesh mtu 1450',
  ]);
  links.took(1500);
  expect(links.problems(begun)[0]?.message).toMatch(
    /^Packets of 1500 bytes, as the cluster’s hosts have agreed, do not fit/,
  );
  room = 1500;
  expect(links.problems(begun)).toEqual([]);
});

it('keeps back nothing but changes of sizes until the kernel has said how large it is', () => {
  const unchanged = { mtu: 1420, formerMtu: 1420, phase: 'accept' } as const;
  expect(links.isAsWanted(unchanged)).toBe(false);
  expect(links.reached(unchanged, 1420)).toBe('drop');
  expect(links.reached({ ...LOWERED, phase: 'accept' }, 1320)).toBeUndefined();
  links.took(1420);
  expect(links.isAsWanted(unchanged)).toBe(true);
  expect(links.reached({ ...LOWERED, phase: 'accept' }, 1320)).toBe('send');
});
