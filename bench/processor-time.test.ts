import { describe, expect, it } from 'vitest';
import { ProcessorTime, threadTimes } from './processor-time.ts';

const time = (
  processor: number,
  name = 'worker',
): { name: string; processor: number; system: number; waiting: number } => ({
  name,
  processor,
  system: processor / 2,
  waiting: processor / 4,
});

describe('processor time', () => {
  it('is added up by name over several readings, whoever began in between included', () => {
    const spent = new ProcessorTime();
    spent.add(
      new Map([[1, time(100)]]),
      new Map([
        [1, time(140)],
        [2, time(20)],
      ]),
    );
    spent.add(
      new Map([[1, time(200)]]),
      new Map([
        [1, time(240)],
        [3, time(60, 'main')],
      ]),
    );
    expect(spent.times(0.1)).toEqual([
      { name: 'worker', processor: 10, system: 5, waiting: 2.5 },
      { name: 'main', processor: 6, system: 3, waiting: 1.5 },
    ]);
  });

  it('leaves out those that had next to nothing', () => {
    const spent = new ProcessorTime();
    spent.add(
      new Map(),
      new Map([
        [1, time(1000)],
        [2, time(1, 'idler')],
      ]),
    );
    expect(spent.times(1).map(({ name }) => name)).toEqual(['worker']);
  });

  it('of this process grows while it works', () => {
    const before = threadTimes(process.pid);
    const begin = performance.now();
    while (performance.now() - begin < 50);
    const spent = new ProcessorTime();
    spent.add(before, threadTimes(process.pid));
    expect(before.get(process.pid)?.name).toMatch(/./);
    const total = spent.times(1).reduce((sum, { processor }) => sum + processor, 0);
    expect(total).toBeGreaterThan(0);
  });
});
