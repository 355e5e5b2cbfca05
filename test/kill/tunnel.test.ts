import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SERVER, Vpn } from '../../lab/vpn.ts';
import { CULVERT, ended, lineOf } from '../support/command-line.ts';

/*
 * A client is killed after each thing that it does which outlives it, as it connects and as it disconnects. Then another
 * one connects, or what is left is taken away: every time it works, and in the end nothing is left.
 */

const STEPS = join(import.meta.dirname, '..', 'support', 'tunnel-steps.ts');

let vpn: Vpn;
let before: Record<string, string>;

beforeEach(async () => {
  vpn = await Vpn.make();
  before = vpn.state();
});
afterEach(() => vpn[Symbol.asyncDispose]());

const folders = (): string[] => [
  '--run-dir',
  join(vpn.client.folder, 'run'),
  '--state-dir',
  join(vpn.client.folder, 'state'),
];

function start(env: Readonly<Record<string, string>> = {}): ChildProcess {
  const path = join(vpn.client.folder, 'vpn.conf');
  const options = ['--kill-switch', '--allow', '203.0.113.0/24', '--timeout', '10', ...folders()];
  const given = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return vpn.client.start('env', ...given, CULVERT, 'connect', path, ...options);
}

/** Connects, and disconnects at a signal, unless it is killed before. @returns whether it was */
async function live(env: Readonly<Record<string, string>>): Promise<boolean> {
  const child = start({ NODE_OPTIONS: `--import=${STEPS}`, ...env });
  const end = ended(child);
  await Promise.race([lineOf(child, /is connected/), end]).catch(() => undefined);
  child.kill('SIGTERM');
  await end;
  return child.signalCode === 'SIGKILL';
}

async function reconnects(when: string): Promise<void> {
  const child = start();
  await lineOf(child, /is connected/).catch((error: unknown) => {
    throw new Error(`${when}: ${String(error)}`);
  });
  execFileSync('nsenter', vpn.client.command('ping', '-c', '1', '-W', '2', SERVER.inside4), { stdio: 'ignore' });
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}

async function cleans(): Promise<void> {
  vpn.client.run(CULVERT, 'tunnels', '--clean', ...folders());
}

describe('a client that is killed wherever it is, as it connects and as it disconnects', () => {
  it('leaves nothing that keeps another from connecting, and nothing that stays', { timeout: 600_000 }, async () => {
    writeFileSync(join(vpn.client.folder, 'vpn.conf'), vpn.config({ lines: ['DNS = 10.9.0.1'] }));
    const log = join(vpn.client.folder, 'steps');
    expect(await live({ KILL_LOG: log })).toBe(false);
    expect(vpn.state()).toEqual(before);
    const steps = readFileSync(log, 'utf8').trim().split('\n');
    expect(steps.length).toBeGreaterThan(25);
    let killed = 0;
    for (const [index, step] of steps.entries()) {
      for (const [name, recover] of [
        ['another connects', reconnects],
        ['it is cleaned', cleans],
      ] as const) {
        const where = `killed after ${step}; ${name}`;
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        if (await live({ KILL_AT: `after ${index + 1}` })) killed++;
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await recover(where);
        expect(vpn.state(), where).toEqual(before);
      }
    }
    expect(killed).toBeGreaterThan(1.8 * steps.length);
  });
});
