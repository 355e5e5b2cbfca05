import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parsePrefix } from '../addr/prefix.ts';
import { candidates, subnetAt, unitCount, unitsIn } from './subnets.ts';

it('tries each subnet once, from anywhere', () => {
  const plan = fc
    .record({ length: fc.integer({ min: 8, max: 20 }), more: fc.integer({ min: 2, max: 9 }), seed: fc.string() })
    .map(({ length, more, seed }) => ({
      plan: { range: { ...parsePrefix('10.0.0.0/8'), length }, unit: length + more },
      seed,
    }));
  fc.assert(
    fc.property(plan, fc.constantFrom(1, 2, 4), ({ plan: { range, unit }, seed }, units) => {
      const count = unitCount({ range, unit }) / units;
      const firsts = [...candidates({ range, unit }, units, seed, 1e6)];
      expect(new Set(firsts).size).toBe(count);
      for (const first of firsts) {
        expect(first % units).toBe(0);
        const subnet = subnetAt({ range, unit }, first, units);
        expect(unitsIn({ range, unit }, subnet)).toEqual(Array.from({ length: units }, (_, index) => first + index));
      }
    }),
  );
});
