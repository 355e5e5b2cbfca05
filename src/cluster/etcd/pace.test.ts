import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Pace } from './pace.ts';

/** How many messages a follower hears of writes at these times, each as it comes but for those during a rest. */
function messagesOf(writesMs: readonly number[], keys: number): number {
  const pace = new Pace(0);
  let messages = 0;
  let untilMs = 0;
  let isOwed = false;
  for (const atMs of writesMs) {
    if (atMs < untilMs) {
      isOwed = true;
      continue;
    }
    if (isOwed) {
      isOwed = false;
      messages++;
      pace.heard(keys, untilMs);
    }
    messages++;
    untilMs = atMs + pace.heard(keys, atMs);
  }
  return messages + Number(isOwed);
}

it('has changes that come one by one heard at once', () => {
  const pace = new Pace(0);
  for (let atMs = 0; atMs < 100_000; atMs += 1000) expect(pace.heard(500, atMs)).toBe(0);
});

it('has a thousand that join in ten seconds told in a few messages, and three at once in three', () => {
  const writes = Array.from({ length: 1000 }, (_, index) => index * 10);
  expect(messagesOf(writes, 1000)).toBeLessThan(20);
  expect(messagesOf([0, 1, 2], 1000)).toBe(3);
});

it('tells all followers together no more often than some two times a millisecond, whatever is written', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 300 });
  fc.assert(
    fc.property(gaps, fc.integer({ min: 1, max: 2500 }), (all, keys) => {
      let atMs = 0;
      const writes = all.map((gap) => (atMs += gap));
      const [first = 0, last = 0] = [writes[0], writes.at(-1)];
      expect(messagesOf(writes, keys)).toBeLessThanOrEqual(6 + (2 * (last - first)) / (2 * keys));
    }),
  );
});
