import { beforeEach, expect, it } from 'vitest';
import { Part } from './part.ts';

let now: number;
let told: string[];
let reason: string | undefined;
/** ms that the work takes */
let takes: number;
let begun: number[];
let part: Part<string>;

beforeEach(() => {
  now = 0;
  told = [];
  reason = 'no';
  takes = 0;
  begun = [];
  part = new Part({
    what: 'work',
    work: () => {
      begun.push(now);
      now += takes;
      if (reason !== undefined) throw new Error(reason);
      return 'done';
    },
    otherwise: 'otherwise',
    failed: (error) => told.push((error as Error).message),
    nowMs: () => now,
  });
});

it('rests twice as long after each failure, up to a second, and not after a success', () => {
  for (; now < 4000; now += 10) expect(part.step()).toBe('otherwise');
  expect(begun).toEqual([0, 20, 60, 140, 300, 620, 1260, 2260, 3260]);
  reason = undefined;
  begun.length = 0;
  for (; now < 4300; now += 10) part.step();
  expect(begun).toEqual([4260, 4270, 4280, 4290]);
  expect(part.step()).toBe('done');
  reason = 'again';
  part.step();
  begun.length = 0;
  for (const end = now + 30; now < end; now += 10) part.step();
  expect(begun).toHaveLength(1);
});

it('rests after work that took long as after any other', () => {
  takes = 2000;
  for (; now < 20_000; now += 10) part.step();
  expect(begun.slice(0, 3)).toEqual([0, 2020, 4060]);
  expect((begun[7] ?? 0) - (begun[6] ?? 0)).toBeGreaterThanOrEqual(3000);
});

it('says what fails, as long as it does', () => {
  expect(part.failure).toBeUndefined();
  part.step();
  expect(part.failure).toBe('Cannot work, and will try again: no');
  now += 100;
  reason = undefined;
  expect(part.failure).toBeDefined();
  part.step();
  expect(part.failure).toBeUndefined();
});

it('tells a failure that goes on once, whatever comes in between, and again when it comes back much later', () => {
  for (const next of ['one', 'one', undefined, 'one', 'two', 'two', undefined, 'two']) {
    reason = next;
    now += 5000;
    part.step();
  }
  expect(told).toEqual(['one', 'two']);
  reason = undefined;
  part.step();
  now += 40_000;
  reason = 'two';
  part.step();
  expect(told).toEqual(['one', 'two', 'two']);
});
