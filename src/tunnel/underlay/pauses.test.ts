import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Pauses, sinceBootMs } from './pauses.ts';

it('is told of once, when it is over', () => {
  const pauses = new Pauses(0, 1000);
  expect(pauses.look(1000)).toBeUndefined();
  // a machine that is busy
  expect(pauses.look(6999)).toBeUndefined();
  expect(pauses.look(7999)).toBeUndefined();
  expect(pauses.look(207_999)).toBe(200_000);
  expect(pauses.look(208_999)).toBeUndefined();
});

it('is of a clock that goes on in sleep', () => {
  const ms = sinceBootMs();
  const [seconds = ''] = readFileSync('/proc/uptime', 'utf8').split(' ');
  expect(Math.abs(Number(seconds) * 1000 - ms)).toBeLessThan(10_000);
});
