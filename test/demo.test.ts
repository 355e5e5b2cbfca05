import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { ended, lineOf } from './support/command-line.ts';
import { type DemoRun, DemoRuns } from './support/demo-run.ts';

const DEMO = resolve(import.meta.dirname, '../demo/main.ts');

const runs = new DemoRuns();
const start = (...parameters: string[]): DemoRun => runs.start(...parameters);
const machine = (): unknown => runs.machine();
afterEach(() => runs.kill());
afterAll(() => runs[Symbol.dispose]());

describe('the demo', () => {
  it('proves what it claims, prints what it measured, and leaves the machine as it was', {
    timeout: 300_000,
  }, async () => {
    const before = machine();
    const run = start('--sandboxes', '24');
    const folder = lineOf(run.child, /is ready after/).then(() => run.folder());
    const { code, stdout, stderr } = await ended(run.child);
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/✓ the daemon was killed in the middle of creations/);
    expect(stdout.match(/✓ no packet was lost from/g)).toHaveLength(4);
    expect(stdout).toMatch(/^WHAT +MEASURED +HOW$/m);
    expect(stdout).toMatch(/^packets while the daemon was killed +\d+ sent, 0 lost /m);
    expect(stdout).toMatch(/^sandboxes +27 /m);
    // plain lines where nobody looks on at a terminal
    expect(stdout).not.toContain('\u001b');
    expect(run.processes()).toEqual([]);
    expect(existsSync(await folder)).toBe(false);
    expect(machine()).toEqual(before);
  });

  it('fails, names the proof and shows the evidence where a sandbox does reach another', async () => {
    const before = machine();
    const run = start('--sandboxes', '24');
    const end = ended(run.child);
    await lineOf(run.child, /^Somebody moves in/);
    run.breakOpen();
    const { code, stdout, stderr } = await end;
    expect({ code }, stdout).toEqual({ code: 1 });
    expect(stderr).toMatch(/✗ Not so: netns-1 does not reach netns-2\n +done +sent 5 packets to 10\.11\.0\.5\n/);
    expect(stderr).toMatch(/observed .*arrived: \[\s*{ from: '10\.11\.0\.2'/s);
    expect(stdout).not.toContain('MEASURED');
    await run.gone();
    expect(run.processes()).toEqual([]);
    expect(machine()).toEqual(before);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const before = machine();
    const run = start('--sandboxes', '24');
    const end = ended(run.child);
    await lineOf(run.child, /^Two sandboxes do not see each other/);
    const folder = run.folder();
    run.child.kill('SIGINT');
    expect((await end).code).toBe(130);
    await run.gone();
    expect(run.processes()).toEqual([]);
    expect(existsSync(folder)).toBe(false);
    expect(machine()).toEqual(before);
  });

  it('leaves no more than a folder in the checkout when it is killed, which the next run takes away', async () => {
    const before = machine();
    const run = start('--sandboxes', '24');
    const end = ended(run.child);
    await lineOf(run.child, /^Two sandboxes do not see each other/);
    const folder = run.folder();
    run.child.kill('SIGKILL');
    await end;
    await run.gone();
    expect(run.processes()).toEqual([]);
    expect(machine()).toEqual(before);
    expect(existsSync(folder)).toBe(true);

    const next = start('--sandboxes', '24');
    const nextEnd = ended(next.child);
    await lineOf(next.child, /is ready after/);
    expect(existsSync(folder)).toBe(false);
    next.child.kill('SIGTERM');
    expect((await nextEnd).code).toBe(143);
  });

  it.each(['--sandboxes=1', '--sandboxes=many', '--fast', 'clusters', 'cluster --sandboxes=14'])(
    'refuses %s',
    async (parameters) => {
      const { code, stdout, stderr } = await ended(
        spawn(process.execPath, [DEMO, ...parameters.split(' ')], { stdio: ['ignore', 'pipe', 'pipe'] }),
      );
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(
        /^(Cannot use "(1|many)" as --sandboxes: want 24 to 600|Cannot use "14" .* want 15 to 150|Cannot show "clusters"|Unknown option '--fast')/,
      );
      expect(stderr).toContain('usage: npm run demo');
    },
  );
});
