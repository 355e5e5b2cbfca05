import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabNamespace } from '../../lab/namespace.ts';
import { SERVER } from '../../lab/vpn.ts';
import { kill, useTunnelLab } from '../support/tunnel-client.ts';
import { killAtEachStep } from '../support/tunnel-kills.ts';

/*
 * A client is killed after each thing that it does which outlives it, as it connects and as it disconnects. Then another
 * one connects, or what is left is taken away: every time it works, and in the end nothing is left.
 */

const timeout = 600_000;

const lab = useTunnelLab();

/** Another client connects, and is ended when what is to pass by it does. */
async function reconnects(when: string, passes: () => boolean, options: readonly string[]): Promise<void> {
  const child = await lab.client.connect(config(), ...options).catch((error: unknown) => {
    throw new Error(`${when}: ${String(error)}`);
  });
  expect(passes(), when).toBe(true);
  await kill(child);
}

async function cleans(): Promise<void> {
  lab.client.culvert('tunnels', '--clean');
}

const config = (): string => lab.vpn.config({ lines: ['DNS = 10.9.0.1'] });

describe('a client that is killed wherever it is, as it connects and as it disconnects', { timeout }, () => {
  it('leaves nothing that keeps another from connecting, and nothing that stays', async () => {
    const options = ['--kill-switch', '--allow', '203.0.113.0/24', '--timeout', '10'];
    await killAtEachStep({
      client: lab.client,
      text: config(),
      options: () => options,
      leastSteps: 25,
      state: () => lab.vpn.state(),
      recoveries: [
        {
          name: 'another connects',
          run: (when) => reconnects(when, () => lab.client.pings(SERVER.inside4), options),
        },
        { name: 'it is cleaned', run: cleans },
      ],
    });
  });
});

describe('a client for another namespace that is killed wherever it is', { timeout }, () => {
  let inner: LabNamespace;

  beforeEach(async () => {
    inner = await LabNamespace.make();
  });
  afterEach(() => inner.close());

  const options = (): string[] => ['--namespace', inner.path, '--timeout', '10'];

  /** Of both. */
  function state(): Record<string, string> {
    const of = (command: string): string => inner.run('sh', '-c', command);
    return {
      ...lab.vpn.state(),
      innerLinks: of('ip -br link'),
      innerAddresses: of('ip -br address'),
      innerRoutes: of('ip -4 route show table all; ip -6 route show table all; ip rule; ip -6 rule'),
      innerTables: of('nft list ruleset'),
    };
  }

  function pings(): boolean {
    try {
      inner.run('ping', '-c', '1', '-W', '10', SERVER.inside4);
      return true;
    } catch {
      return false;
    }
  }

  it('leaves nothing on either side that keeps another from connecting, and nothing that stays', async () => {
    const connects = { name: 'another connects', run: (when: string) => reconnects(when, pings, options()) };
    const moves = {
      name: 'another connects outside',
      run: (when: string) => reconnects(when, () => lab.client.pings(SERVER.inside4), ['--timeout', '10']),
    };
    const ends = {
      name: 'its namespace goes, and it is cleaned',
      run: async () => {
        await inner.close();
        inner = await LabNamespace.make();
        await cleans();
      },
    };
    await killAtEachStep({
      client: lab.client,
      text: config(),
      options,
      leastSteps: 15,
      state,
      recoveries: [connects, moves, { name: 'it is cleaned', run: cleans }, ends],
    });
  });
});
