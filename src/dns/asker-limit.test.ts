import { expect, it } from 'vitest';
import { parseIpv4 } from '../addr/ipv4.ts';
import { AskerLimit } from './asker-limit.ts';

const [one, two, three] = ['10.11.0.1', '10.11.0.2', '10.11.0.3'].map(parseIpv4) as [never, never, never];

function times(limit: AskerLimit, asker: never, count: number): number {
  return Array.from({ length: count }, () => limit.take(asker)).filter(Boolean).length;
}

it('lets each asker have a burst, then its rate', () => {
  let nowMs = 5;
  const limit = new AskerLimit({ rate: 10, burst: 20 }, () => nowMs);
  expect(times(limit, one, 50)).toBe(20);
  expect(times(limit, two, 5)).toBe(5);
  nowMs += 1000;
  expect(times(limit, one, 50)).toBe(10);
  nowMs += 50;
  expect(times(limit, one, 50)).toBe(0);
  nowMs += 50;
  expect(times(limit, one, 50)).toBe(1);
  nowMs += 1_000_000;
  expect([times(limit, one, 50), times(limit, two, 50)]).toEqual([20, 20]);
});

it('knows no more askers than it may, and forgets who has not asked for the longest time', () => {
  const limit = new AskerLimit({ rate: 1, burst: 1 }, () => 0, 2);
  expect([limit.take(one), limit.take(two), limit.take(one)]).toEqual([true, true, false]);
  expect(limit.take(three)).toBe(true);
  expect([limit.take(one), limit.take(three)]).toEqual([false, false]);
  expect(limit.take(two)).toBe(true);
});
