import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median, medianRatio, percentile } from './statistics.ts';

const values = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1, maxLength: 50 });

describe('percentile', () => {
  it('is the least value that the share does not exceed', () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 0, max: 100 }), (list, percent) => {
        const share = percent / 100;
        const enough = (limit: number): boolean => list.filter((value) => value <= limit).length >= share * list.length;
        const naive = list.toSorted((a, b) => a - b).find(enough);
        expect(percentile(list, share)).toBe(naive);
      }),
    );
  });

  it('takes the last of a hundred at 1, and the 99th at 0.99', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
    expect([percentile(hundred, 0.99), percentile(hundred, 1)]).toEqual([99, 100]);
  });

  it('refuses what it cannot answer', () => {
    expect(() => percentile([], 0.5)).toThrow(RangeError);
    expect(() => percentile([1], 1.5)).toThrow(RangeError);
    expect(() => percentile([1], Number.NaN)).toThrow(RangeError);
  });
});

describe('median', () => {
  it('is the middle, or between the two in the middle', () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([7])]).toEqual([2, 2.5, 7]);
  });

  it('leaves as many on either side', () => {
    fc.assert(
      fc.property(values, (list) => {
        const middle = median(list);
        const below = list.filter((value) => value < middle).length;
        const above = list.filter((value) => value > middle).length;
        expect(Math.max(below, above)).toBeLessThanOrEqual(list.length / 2);
      }),
    );
  });
});

describe('medianRatio', () => {
  it('compares round with round, so that a slow round of both changes nothing', () => {
    expect(medianRatio([10, 100, 10], [5, 50, 5])).toBe(2);
  });

  it('refuses rounds without a partner', () => {
    expect(() => medianRatio([1], [])).toThrow('Cannot compare 1 rounds with 0');
  });
});
