import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Job, type Outcome } from './job.ts';

const outcomes = fc.constantFrom('done', 'differs', 'failed', 'skipped');

it('gives each item to one of those who take, and keeps what became of it', () => {
  fc.assert(
    fc.property(fc.array(outcomes, { maxLength: 40 }), fc.array(fc.nat(2)), (wanted, turns) => {
      const job = new Job(wanted.length);
      const takers = [job, new Job(wanted.length, job.cells), new Job(wanted.length, job.cells)];
      const taken: number[] = [];
      for (let turn = 0; !job.isOver; turn++) {
        const taker = takers[turns[turn] ?? 0];
        const index = taker?.take();
        if (index === undefined) continue;
        taken.push(index);
        taker?.settle(index, wanted[index] ?? 'failed');
      }
      expect(taken).toEqual(wanted.map((_, index) => index));
      expect(takers.map((taker) => taker.take())).toEqual([undefined, undefined, undefined]);
      expect(wanted.map((_, index) => takers[1]?.outcome(index))).toEqual(wanted);
    }),
  );
});

it('skips what nobody has taken when it is cancelled, and leaves the rest to who took it', () => {
  fc.assert(
    fc.property(fc.nat(20), fc.nat(30), (count, takes) => {
      const job = new Job(count);
      const taken = Array.from({ length: takes }, () => job.take()).filter((index) => index !== undefined);
      job.cancel();
      job.cancel();
      expect(job.take()).toBeUndefined();
      const expected = Array.from({ length: count }, (_, index): Outcome => (index < takes ? 'pending' : 'skipped'));
      expect(expected.map((_, index) => job.outcome(index))).toEqual(expected);
      expect(job.isOver).toBe(taken.length === 0);
      const late = taken.slice(1);
      if (taken.length > 0) job.settle(0, 'done');
      expect(job.settleTaken('failed')).toEqual(late);
      expect(job.isOver).toBe(true);
    }),
  );
});

it('is waited for from another thread, and no longer than is said', () => {
  const job = new Job(1);
  expect(job.wait(1)).toBe(false);
  const program = `
    import { workerData } from 'node:worker_threads';
    import { Job } from ${JSON.stringify(new URL('job.ts', import.meta.url).href)};
    const job = new Job(1, workerData);
    job.settle(job.take(), 'done');
  `;
  const url = new URL(`data:text/javascript,${encodeURIComponent(program)}`);
  const worker = new Worker(url, { workerData: job.cells });
  worker.unref();
  expect(job.wait(20_000)).toBe(true);
  expect(job.outcome(0)).toBe('done');
  expect(job.wait(0)).toBe(true);
});
