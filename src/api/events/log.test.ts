import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CulvertEvent } from '../../daemon/engine.ts';
import { EventLog, type EventReader, type Reading } from './log.ts';

function event(sequence: number): CulvertEvent {
  return { sequence, wallMs: 0, type: 'test', message: `event ${sequence}` };
}

/** What a reader has to give without waiting. */
async function drain(reader: EventReader): Promise<(number | 'lost')[]> {
  const readings: (number | 'lost')[] = [];
  for (;;) {
    const reading: Reading | undefined | 'none' = await Promise.race([reader.next(), nothingYet()]);
    if (reading === 'none') {
      // The call that waits is answered by closing; nobody reads on after.
      reader.close();
      return readings;
    }
    if (reading === undefined) return readings;
    readings.push(reading === 'lost' ? 'lost' : reading.event.sequence);
  }
}

async function nothingYet(): Promise<'none'> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  return 'none';
}

describe('a log of events', () => {
  it('gives each reader what came after the event it names, in order, or says that some are lost', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 0, max: 45 }),
        async (capacity, count, after) => {
          const log = new EventLog({ run: 'r1', capacity, readers: 1 });
          for (let sequence = 1; sequence <= count; sequence += 1) log.append(event(sequence));
          const got = await drain(log.read(`r1-${after}`));
          const wanted = Array.from({ length: Math.max(count - after, 0) }, (_, index) => after + 1 + index);
          if (got[0] === 'lost') {
            expect(count - after).toBeGreaterThan(capacity);
            expect(got.slice(1)).toEqual(wanted.slice(-(got.length - 1)));
            expect(got.length - 1).toBeGreaterThanOrEqual(capacity);
          } else {
            expect(got).toEqual(wanted);
          }
        },
      ),
    );
  });

  it('begins with what is to come, and wakes who waits', async () => {
    const log = new EventLog({ run: 'r1', capacity: 10, readers: 2 });
    log.append(event(1));
    const [one, two] = [log.read(), log.read()];
    const waiting = Promise.all([one.next(), two.next()]);
    log.append(event(2));
    expect(await waiting).toEqual([
      { id: 'r1-2', event: event(2) },
      { id: 'r1-2', event: event(2) },
    ]);
  });

  it('says that the events of another run are lost, and gives what it has', async () => {
    const log = new EventLog({ run: 'r2', capacity: 10, readers: 1 });
    log.append(event(1));
    expect(await drain(log.read('r1-900'))).toEqual(['lost', 1]);
  });

  it('lets a slow reader lose events, not the log grow', async () => {
    const log = new EventLog({ run: 'r1', capacity: 10, readers: 1 });
    const slow = log.read();
    for (let sequence = 1; sequence <= 1000; sequence += 1) log.append(event(sequence));
    const got = await drain(slow);
    expect(got[0]).toBe('lost');
    expect(got.at(-1)).toBe(1000);
    expect(got.length).toBeLessThanOrEqual(21);
  });

  it('has so many readers and no more', () => {
    const log = new EventLog({ run: 'r1', capacity: 10, readers: 2 });
    const first = log.read();
    log.read();
    expect(() => log.read()).toThrow(/2 are open already/);
    first.close();
    expect(log.read()).toBeDefined();
    expect(log.readerCount).toBe(2);
    log.close();
    expect(log.readerCount).toBe(0);
  });

  it.each(['', '7', 'r1', 'r1-', '-7', 'r1-7x', `r1-${'9'.repeat(16)}`, 'R-1'])('refuses %j as the id of one', (id) => {
    const log = new EventLog({ run: 'r1', capacity: 10, readers: 1 });
    expect(() => log.read(id)).toThrow(/not the id of one/);
  });
});
