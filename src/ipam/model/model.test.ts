import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TOPOLOGIES } from '../lease.ts';
import { type Operation, operation, SLOTS } from './operation.ts';
import { compare, perform } from './perform.ts';
import { makeTemplate, World } from './world.ts';

/** Operations in all: more of them for a long run. */
const TOTAL = Number(process.env['CULVERT_SOAK_OPERATIONS'] ?? 20_000);
const PER_RUN = 500;
const RUNS = Math.ceil(TOTAL / PER_RUN);
/** Ten times what a slow disk needs; it ends a run that hangs, and judges nothing. */
const TIMEOUT_MS = 60_000 + TOTAL * 20;

let folder: string;
let template: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-model-'));
  template = join(folder, 'template.db');
  makeTemplate(template);
});
afterAll(() => rmSync(folder, { recursive: true }));

function play(world: World, steps: readonly Operation[]): void {
  for (const [index, step] of steps.entries()) {
    try {
      perform(world, step);
      compare(world);
    } catch (cause) {
      const last = steps.slice(Math.max(0, index - 9), index + 1).map((one) => JSON.stringify(one));
      const found = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`Operation ${index} differs: ${found}\nthe last of\n${last.join('\n')}`, { cause });
    }
    for (const { state, topology } of world.model.held) world.note(`${topology} ${state}`);
    const { free, conflicts, held } = world.model.bridge;
    if (free.length === 0 && held.size > 0) world.note('bridge full');
    for (const address of conflicts.keys()) world.note(held.has(address) ? 'conflict of a lease' : 'conflict alone');
  }
}

describe('the store', () => {
  it(`does what a naive model does, over ${RUNS * PER_RUN} operations`, { timeout: TIMEOUT_MS }, () => {
    expect(RUNS).toBeGreaterThan(0);
    let run = 0;
    let lives = 0;
    const reached = new Set<string>();
    const operations = fc.array(operation, { minLength: PER_RUN, maxLength: PER_RUN });
    fc.assert(
      fc.property(operations, (steps) => {
        run += 1;
        using world = new World(join(folder, `run-${run}`), template, (what) => reached.add(what));
        play(world, steps);
        lives += world.keys.length;
      }),
      // Runs of one length cannot be made shorter, and smaller numbers in them explain nothing.
      { numRuns: RUNS, endOnFailure: true },
    );
    // A run that seldom gets past the first claims would prove little. Runs lead about 2.2 lives a slot, by chance more
    // or fewer; where no slot were ever free again, it would be one at most.
    const states = ['creating', 'warm', 'ready', 'removing', 'quarantined'];
    const expected = TOPOLOGIES.flatMap((topology) => states.map((state) => `${topology} ${state}`));
    expected.push('full disk', 'bridge full', 'conflict of a lease', 'conflict alone');
    expect([...reached].toSorted()).toEqual(expected.toSorted());
    expect(lives).toBeGreaterThan(RUNS * SLOTS * 1.5);
  });
});
