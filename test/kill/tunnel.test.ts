import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SERVER } from '../../lab/vpn.ts';
import { ended, lineOf } from '../support/command-line.ts';
import { kill, useTunnelLab } from '../support/tunnel-client.ts';

/*
 * A client is killed after each thing that it does which outlives it, as it connects and as it disconnects. Then another
 * one connects, or what is left is taken away: every time it works, and in the end nothing is left.
 */

const STEPS = join(import.meta.dirname, '..', 'support', 'tunnel-steps.ts');

const OPTIONS = ['--kill-switch', '--allow', '203.0.113.0/24', '--timeout', '10'];

const lab = useTunnelLab();

const config = (): string => lab.vpn.config({ lines: ['DNS = 10.9.0.1'] });

/** Connects, and disconnects at a signal, unless it is killed before. @returns whether it was */
async function live(...variables: string[]): Promise<boolean> {
  const { client } = lab;
  const child = client.spawn([`NODE_OPTIONS=--import=${STEPS}`, ...variables], client.file(config()), ...OPTIONS);
  const end = ended(child);
  await Promise.race([lineOf(child, /is connected/), end]).catch(() => undefined);
  child.kill('SIGTERM');
  await end;
  return child.signalCode === 'SIGKILL';
}

async function reconnects(when: string): Promise<void> {
  const child = await lab.client.connect(config(), ...OPTIONS).catch((error: unknown) => {
    throw new Error(`${when}: ${String(error)}`);
  });
  expect(lab.client.pings(SERVER.inside4), when).toBe(true);
  await kill(child);
}

async function cleans(): Promise<void> {
  lab.client.culvert('tunnels', '--clean');
}

describe('a client that is killed wherever it is, as it connects and as it disconnects', () => {
  it('leaves nothing that keeps another from connecting, and nothing that stays', { timeout: 600_000 }, async () => {
    const log = join(lab.vpn.client.folder, 'steps');
    expect(await live(`KILL_LOG=${log}`)).toBe(false);
    expect(lab.vpn.state()).toEqual(lab.before);
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
        if (await live(`KILL_AT=after ${index + 1}`)) killed++;
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await recover(where);
        expect(lab.vpn.state(), where).toEqual(lab.before);
      }
    }
    expect(killed).toBeGreaterThan(1.8 * steps.length);
  });
});
