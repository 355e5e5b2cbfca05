import { expect, it } from 'vitest';
import { growthOf } from './leftovers.ts';

it('names what there is more of, and only that', () => {
  expect(growthOf({ leases: 3, links: 4, pins: 2 }, { leases: 5, links: 4, pins: 1, routes: 1 })).toEqual([
    '2 leases',
    '1 routes',
  ]);
});
