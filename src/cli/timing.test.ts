import fc from 'fast-check';
import { expect, it } from 'vitest';
import { figuresOf } from './timing.ts';

it('finds the least time that as many did not exceed, as counting does', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 300 }), (times) => {
      const figures = figuresOf(times, 1000);
      for (const [part, found] of [
        [0.5, figures.p50Ms],
        [0.99, figures.p99Ms],
        [1, figures.maxMs],
      ] as const) {
        const within = (limit: number): number => times.filter((time) => time <= limit).length;
        expect(within(found)).toBeGreaterThanOrEqual(part * times.length);
        expect(within(found - 1)).toBeLessThan(part * times.length);
      }
      expect(figures.perSecond).toBe(times.length);
    }),
  );
});

it('has no times where nothing was done', () => {
  expect(figuresOf([], 10)).toEqual({ count: 0, perSecond: 0, p50Ms: NaN, p99Ms: NaN, maxMs: NaN });
});
