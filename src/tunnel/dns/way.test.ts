import { expect, it } from 'vitest';
import { chooseWay } from './way.ts';

const none = { isMount: false, hasResolvconf: false, hasResolvectl: false, isStub: false, isOfOthers: false };

it.each([
  ['writes the file itself where no program is there', none, 'file'],
  [
    'asks resolvconf first, as wg-quick does',
    { ...none, hasResolvconf: true, hasResolvectl: true, isStub: true },
    'resolvconf',
  ],
  ['asks systemd-resolved where it is asked for names', { ...none, hasResolvectl: true, isStub: true }, 'resolved'],
  ['leaves systemd-resolved alone where others are asked', { ...none, hasResolvectl: true }, 'file'],
  ['writes what is mounted itself', { ...none, isMount: true, hasResolvconf: true, isOfOthers: true }, 'file'],
] as const)('%s', (_, facts, way) => {
  expect(chooseWay(facts)).toBe(way);
});

it('does not change the machine’s for another network', () => {
  expect(() => chooseWay({ ...none, isOfOthers: true })).toThrow(expect.objectContaining({ code: 'dns_of_others' }));
});
