import { expect, it } from 'vitest';
import { leaseSentence } from './leases.ts';

const sinceWallMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const common = { slot: 12, generation: 3, sinceWallMs, topology: 'netns', sandboxId: 'a1' } as const;
const { sandboxId: _, ...warm } = common;

it.each([
  [
    { ...common, state: 'ready' as const },
    'Slot 12 is ready since 2026-01-02T03:04:05.000Z (2 min), for sandbox a1 (generation 3, netns)',
  ],
  [
    { ...warm, state: 'warm' as const },
    'Slot 12 is warm since 2026-01-02T03:04:05.000Z (2 min), for the warm pool (generation 3, netns)',
  ],
  [
    {
      ...common,
      state: 'quarantined' as const,
      quarantine: { reason: 'removed', dueInMs: 700, flushVerified: true },
    },
    'Slot 12 rests since 2026-01-02T03:04:05.000Z (2 min) after sandbox a1 (generation 3, netns): removed; free in 700 ms',
  ],
  [
    {
      ...common,
      state: 'quarantined' as const,
      quarantine: { reason: 'removed', dueInMs: 0, flushVerified: false },
    },
    'Slot 12 rests since 2026-01-02T03:04:05.000Z (2 min) after sandbox a1 (generation 3, netns): removed; free soon at the earliest, when no flow of it is left any more',
  ],
  [{ slot: 12, state: 'free' as const }, 'Slot 12 is free'],
])('a lease in words: %j', (lease, sentence) => {
  expect(leaseSentence(lease, sinceWallMs + 125_000)).toBe(sentence);
});
