import { existsSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { ended, lineOf } from './support/command-line.ts';
import { DemoRuns } from './support/demo-run.ts';

const SMALL = ['cluster', '--sandboxes', '15'];
const ACTS = [
  'Groups are apart',
  'culvert mesh encrypt off, under load',
  'culvert mesh encrypt on, under load',
  'culvert mesh rotate, under load',
  'Kill the daemon of h1, under load',
  'Lose h3 altogether, under load',
  'Give h3 back',
];

const runs = new DemoRuns();
afterEach(() => runs.kill());
afterAll(() => runs[Symbol.dispose]());

const PATIENCE = { timeout: 20_000, interval: 100 };

describe('the demo of a cluster', { timeout: 400_000 }, () => {
  it('proves what it claims, and leaves the machine as it was', async () => {
    const before = runs.machine();
    const run = runs.start(...SMALL);
    const seen = lineOf(run.child, /no two have one address/).then(() => ({ folder: run.folder(), lab: run.lab() }));
    const { code, stdout, stderr } = await ended(run.child);
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' });
    for (const act of ACTS) expect(stdout).toContain(`\n${act}`);
    expect(stdout.match(/✓ each sandbox reaches those of its group/g)).toHaveLength(5);
    expect(stdout).toMatch(/ 0 of them were to be read, 0 other packets too; \d+ were encrypted/);
    expect(stdout).toMatch(/sent (\d+) datagrams [^:]+: \1 of them were to be read/);
    expect(stdout).toMatch(/^proofs +39 /m);
    expect(run.processes()).toEqual([]);
    const { folder, lab } = await seen;
    await expect.poll(() => run.encrypting(lab), PATIENCE).toEqual([]);
    expect(existsSync(folder)).toBe(false);
    expect(runs.machine()).toEqual(before);
  });

  it.each(['SIGINT', 'SIGKILL'] as const)('leaves no process behind when it is ended by %s', async (signal) => {
    const before = runs.machine();
    const run = runs.start(...SMALL);
    const end = ended(run.child);
    await lineOf(run.child, /^Traffic that is to go on/);
    const [folder, lab] = [run.folder(), run.lab()];
    run.child.kill(signal);
    expect((await end).code).toBe(signal === 'SIGINT' ? 130 : null);
    await run.gone();
    expect(run.processes()).toEqual([]);
    await expect.poll(() => run.encrypting(lab), PATIENCE).toEqual([]);
    expect(existsSync(folder)).toBe(signal === 'SIGKILL');
    expect(runs.machine()).toEqual(before);
  });
});
