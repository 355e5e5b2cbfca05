import { readFileSync, readlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { expect, it } from 'vitest';
import { LineProcess } from '../../lab/line-process.ts';
import { keepApart } from './processors.ts';

const self = Number(basename(readlinkSync('/proc/thread-self')));

/** The processors that a thread may run on. */
function allowed(thread: number): number[] {
  const status = readFileSync(`/proc/${thread}/status`, 'utf8');
  const [, list = ''] = /^Cpus_allowed_list:\s+(\S+)$/m.exec(status) ?? [];
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

it.runIf(availableParallelism() > 1)('keeps two threads apart until it is let go', () => {
  using other = new LineProcess(undefined, 'cat', []);
  const all = allowed(self);
  {
    using apart = keepApart(other.pid);
    expect(apart).toBeDefined();
    const [here, ...more] = allowed(self);
    expect(more).toEqual([]);
    expect(allowed(other.pid)).toEqual(all.filter((processor) => processor !== here));
  }
  expect(allowed(self)).toEqual(all);
});

it('changes nothing where the other thread is gone', async () => {
  const gone = new LineProcess(undefined, 'true', []);
  const { pid } = gone;
  await gone.ended();
  const before = allowed(self);
  expect(keepApart(pid)).toBeUndefined();
  expect(allowed(self)).toEqual(before);
});
