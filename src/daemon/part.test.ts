import { expect, it } from 'vitest';
import { Part } from './part.ts';

it('rests twice as long after each failure, up to a second, and not after a success', () => {
  let failure: Error | undefined = new Error('no');
  const begunMs: number[] = [];
  let nowMs = 0;
  const part = new Part(
    () => {
      begunMs.push(nowMs);
      if (failure !== undefined) throw failure;
      return 'done';
    },
    'otherwise',
    () => undefined,
  );
  for (; nowMs < 4000; nowMs += 10) expect(part.step(nowMs)).toBe('otherwise');
  expect(begunMs).toEqual([0, 20, 60, 140, 300, 620, 1260, 2260, 3260]);
  failure = undefined;
  begunMs.length = 0;
  for (; nowMs < 4300; nowMs += 10) part.step(nowMs);
  expect(begunMs).toEqual([4260, 4270, 4280, 4290]);
  expect(part.step(nowMs)).toBe('done');
  failure = new Error('again');
  expect([0, 10, 20].map((afterMs) => part.step(nowMs + afterMs))).toEqual(['otherwise', 'otherwise', 'otherwise']);
});

it('tells a failure that goes on once, and another one, and the first when it comes back', () => {
  const told: unknown[] = [];
  let reason: string | undefined = 'one';
  const part = new Part(
    () => {
      if (reason !== undefined) throw new Error(reason);
    },
    undefined,
    (error) => told.push((error as Error).message),
  );
  let nowMs = 0;
  for (const next of ['one', 'one', 'two', 'two', undefined, 'two', 'one']) {
    reason = next;
    part.step((nowMs += 2000));
  }
  expect(told).toEqual(['one', 'two', 'two', 'one']);
});
