import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ended, lineOf } from './command-line.ts';
import type { TunnelClient } from './tunnel-client.ts';

const STEPS = join(import.meta.dirname, 'tunnel-steps.ts');

/** What is done about what a client has left that was killed. */
type Recovery = { readonly name: string; readonly run: (when: string) => Promise<void> };

type Parts = {
  readonly client: TunnelClient;
  readonly text: string;
  /** of `culvert connect` */
  readonly options: () => readonly string[];
  /** as which a life has more */
  readonly leastSteps: number;
  /** all that the tunnel changes */
  readonly state: () => unknown;
  /** after a death each */
  readonly recoveries: readonly Recovery[];
};

/**
 * Kills a client after each thing that it does which outlives it, as it connects and as it disconnects, and has what it
 * has left be dealt with: every time that works, and nothing is left in the end.
 */
export async function killAtEachStep({ client, text, options, leastSteps, state, recoveries }: Parts): Promise<void> {
  /** Connects, and disconnects at a signal, unless it is killed before. @returns whether it was */
  const live = async (...variables: string[]): Promise<boolean> => {
    const child = client.spawn([`NODE_OPTIONS=--import=${STEPS}`, ...variables], client.file(text), ...options());
    const end = ended(child);
    await Promise.race([lineOf(child, /is connected/), end]).catch(() => undefined);
    child.kill('SIGTERM');
    await end;
    return child.signalCode === 'SIGKILL';
  };
  const before = state();
  const log = join(client.vpn.client.folder, 'steps');
  expect(await live(`KILL_LOG=${log}`)).toBe(false);
  expect(state()).toEqual(before);
  const steps = readFileSync(log, 'utf8').trim().split('\n');
  expect(steps.length).toBeGreaterThan(leastSteps);
  let killed = 0;
  for (const [index, step] of steps.entries()) {
    for (const { name, run } of recoveries) {
      const where = `killed after ${step}; ${name}`;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      if (await live(`KILL_AT=after ${index + 1}`)) killed++;
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await run(where);
      expect(state(), where).toEqual(before);
    }
  }
  expect(killed).toBeGreaterThan(0.9 * steps.length * recoveries.length);
}
