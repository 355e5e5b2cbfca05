import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Tally, type Told } from './tally.ts';

it('tells of the first at once, and of those that follow once a second', () => {
  const tally = new Tally<string>();
  expect(tally.add('a', 'x', 'one', 0)).toEqual({ item: 'one', count: 1, mixed: false });
  expect(tally.add('a', 'x', 'two', 10)).toBeUndefined();
  expect(tally.add('a', 'x', 'three', 20)).toBeUndefined();
  expect(tally.add('b', 'x', 'four', 20)).toEqual({ item: 'four', count: 1, mixed: false });
  expect(tally.flush(999)).toEqual([]);
  expect(tally.flush(1020)).toEqual([{ item: 'three', count: 2, mixed: false }]);
  expect(tally.flush(2019)).toEqual([]);
  // a second without any: the next is the first again
  tally.flush(2020);
  expect(tally.add('a', 'x', 'five', 2020)).toEqual({ item: 'five', count: 1, mixed: false });
});

it('tells of many different things of one together', () => {
  const tally = new Tally<number>();
  const told = Array.from({ length: 20 }, (_, i) => tally.add('a', `x${i}`, i, 0)).filter((one) => one !== undefined);
  expect(told.map(({ mixed }) => mixed)).toEqual([...Array.from({ length: 8 }, () => false), true]);
  expect(tally.flush(1000)).toEqual([{ item: 19, count: 11, mixed: true }]);
  expect(tally.add('b', 'x0', 7, 0)).toEqual({ item: 7, count: 1, mixed: false });
});

it('counts each once, and tells of few, whatever comes', () => {
  const step = fc.record({
    subject: fc.constantFrom('a', 'b', 'c'),
    detail: fc.nat(30).map(String),
    afterMs: fc.oneof(fc.constant(0), fc.nat(700)),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const tally = new Tally<number>();
      let nowMs = 0;
      const told: (Told<number> & { readonly atMs: number })[] = [];
      for (const [item, { subject, detail, afterMs }] of steps.entries()) {
        nowMs += afterMs;
        for (const one of tally.flush(nowMs)) told.push({ ...one, atMs: nowMs });
        const first = tally.add(subject, detail, item, nowMs);
        if (first !== undefined) told.push({ ...first, atMs: nowMs });
      }
      for (const one of tally.flush(nowMs + 1000)) told.push({ ...one, atMs: nowMs });
      expect(told.reduce((sum, { count }) => sum + count, 0)).toBe(steps.length);
      expect(tally.untold).toBe(0);
      // three subjects with eight details and a rest each, at the beginning and the end of each second
      const seconds = Math.ceil(nowMs / 1000) + 1;
      expect(told.length).toBeLessThanOrEqual(seconds * 3 * 9 * 2);
    }),
    { numRuns: 200 },
  );
});

it('has room for so much and no more', () => {
  const tally = new Tally<number>();
  for (let subject = 0; subject < 5000; subject++) tally.add(String(subject), 'x', subject, 0);
  expect(tally.untold).toBe(5000 - 4096);
  tally.flush(1000);
  expect(tally.add('new', 'x', 1, 1000)).toBeDefined();
});
