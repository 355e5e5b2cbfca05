import { expect, it } from 'vitest';
import type { Phase } from './course.ts';
import { linksMtu, linksMtuAtStart, routesMtu, sizeReached } from './size.ts';

const PHASES: readonly Phase[] = ['accept', 'send', 'drop', 'done'];
const CHANGES = [
  { mtu: 1320, formerMtu: 1420 },
  { mtu: 1420, formerMtu: 1320 },
  { mtu: 1420, formerMtu: 1420 },
];

it('sends no host more than it takes, whichever of two phases that follow each other each of them is in', () => {
  for (const change of CHANGES) {
    // a host that has not heard of it yet is as it was
    const before = { phase: 'done', mtu: change.formerMtu, formerMtu: change.formerMtu } as const;
    const stages = [before, ...PHASES.map((phase) => ({ phase, ...change }))];
    const near = stages.flatMap((stage, index) =>
      stages.slice(Math.max(0, index - 1), index + 2).map((other) => [stage, other] as const),
    );
    for (const [sender, receiver] of near) {
      expect(routesMtu(sender), JSON.stringify([sender, receiver])).toBeLessThanOrEqual(linksMtu(receiver));
    }
  }
});

it('has each phase behind it when its links and routes are as that phase has them', () => {
  for (const change of CHANGES) {
    for (const [index, phase] of PHASES.entries()) {
      const size = { phase, ...change };
      const reached = sizeReached(size, linksMtu(size), routesMtu(size));
      expect(PHASES.indexOf(reached ?? 'accept')).toBeGreaterThanOrEqual(Math.min(index, PHASES.indexOf('drop')));
    }
  }
  expect(sizeReached({ phase: 'accept', mtu: 1420, formerMtu: 1320 }, 1320, 1320)).toBeUndefined();
});

it('starts with what its uplink takes only where others do not send more yet', () => {
  const raised = { mtu: 1420, formerMtu: 1320 };
  expect(linksMtuAtStart({ phase: 'accept', ...raised }, 1400)).toBe(1320);
  expect(linksMtuAtStart({ phase: 'accept', ...raised }, 1420)).toBe(1420);
  expect(linksMtuAtStart({ phase: 'send', ...raised }, 1400)).toBe(1420);
  expect(linksMtuAtStart({ phase: 'done', ...raised }, 1400)).toBe(1420);
  // which they take already
  expect(linksMtuAtStart({ phase: 'accept', mtu: 1320, formerMtu: 1420 }, 1320)).toBe(1420);
});
