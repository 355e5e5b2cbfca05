import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { RESOLV_CONF, SERVER } from '../lab/vpn.ts';
import { ended, lineOf } from './support/command-line.ts';
import { kill, useTunnelLab } from './support/tunnel-client.ts';
import { layNeighbours } from './support/tunnel-neighbours.ts';

/*
 * What a client that was killed, or wg-quick(8), has left of a tunnel, and what becomes of it: another one connects, or it
 * is taken away. What others have beside it, which is much like it, stays as it is each time.
 */

const lab = useTunnelLab();

beforeEach(async () => {
  await layNeighbours(lab.vpn, lab.client);
  lab.before = lab.vpn.state();
});

/** Only for what hangs. */
const WAIT = { timeout: 30_000 };

const config = (): string => lab.vpn.config({ lines: ['DNS = 10.9.0.1'] });

/** Connects, and is killed. */
async function leave(...options: string[]): Promise<void> {
  await kill(await lab.client.connect(config(), ...options), 'SIGKILL');
}

/** The program that makes the tunnel's device. */
function programOf(name: string): number {
  const namespace = readlinkSync(lab.vpn.client.namespace.path);
  const found = readdirSync('/proc').find((pid) => {
    try {
      const isHere = readlinkSync(`/proc/${pid}/ns/net`) === namespace;
      return isHere && readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `wireguard-go\0${name}\0`;
    } catch {
      // it is no process, or has ended
      return false;
    }
  });
  if (found === undefined) throw new Error(`Nobody makes ${name}`);
  return Number(found);
}

function isThere(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const tunnelFolder = (): string => {
  const run = lab.client.folder('run');
  const [namespace = ''] = readdirSync(run);
  return join(run, namespace, 'vpn');
};

type Case = {
  readonly what: string;
  readonly leave: () => Promise<void>;
  /** whether another one takes it as it is */
  readonly isAdopted?: true;
};

const CASES: readonly Case[] = [
  { what: 'all of it', leave: () => leave(), isAdopted: true },
  { what: 'all of it, with a kill switch', leave: () => leave('--kill-switch'), isAdopted: true },
  {
    what: 'all of it, and the file of its config is gone',
    async leave() {
      await leave();
      rmSync(join(lab.vpn.client.folder, 'vpn.conf'));
    },
    isAdopted: true,
  },
  {
    what: 'all of it, and the folder with its socket is gone',
    async leave() {
      await leave();
      rmSync(tunnelFolder(), { recursive: true });
    },
  },
  {
    what: 'all but the program that made its device, whose socket is there',
    async leave() {
      await leave();
      const program = programOf('vpn');
      process.kill(program, 'SIGKILL');
      await expect.poll(() => isThere(program), WAIT).toBe(false);
      await expect.poll(() => lab.vpn.state()['links'], WAIT).not.toContain('vpn');
      expect(readdirSync(tunnelFolder())).toContain('vpn.sock');
    },
  },
  {
    what: 'all but its link, and rules lead to no table',
    async leave() {
      await leave();
      lab.vpn.client.namespace.ip('link delete vpn');
    },
  },
  {
    what: 'rules alone',
    async leave() {
      const child = await lab.client.connect(lab.vpn.config());
      await kill(child, 'SIGKILL');
      lab.vpn.client.namespace.ip('link delete vpn');
      lab.vpn.client.namespace.run('nft', 'delete', 'table', 'inet', 'culvert_tunnel_vpn');
      expect(lab.vpn.state()['rules']).not.toBe(lab.before['rules']);
    },
  },
  {
    // as the kernel makes devices; wireguard-go's have their names from the first moment
    what: 'a link that has yet to get its name',
    leave() {
      lab.vpn.client.namespace.ip(
        'link add cv00c0ffee1234 type bridge',
        'link set cv00c0ffee1234 alias "culvert tunnel 1 pid 4194304 start 7 fwmark 51820"',
      );
      return Promise.resolve();
    },
  },
  {
    what: 'name servers alone',
    async leave() {
      const child = await lab.client.connect(
        lab.vpn.config({ lines: ['DNS = 10.9.0.1'], peer: { AllowedIPs: '10.9.0.0/24' } }),
      );
      await kill(child, 'SIGKILL');
      lab.vpn.client.namespace.ip('link delete vpn');
      // the program has yet to end
      const left = { ...lab.before, names: expect.stringContaining('10.9.0.1') as string };
      await expect.poll(() => lab.vpn.state()).toEqual(left);
    },
  },
];

describe('a client that was killed has left', { timeout: 120_000 }, () => {
  it.each(CASES)('$what: another one connects', async ({ leave: leaves, isAdopted = false }) => {
    await leaves();
    const { child, wasAdopted } = await lab.client.connectTelling(config());
    expect(wasAdopted).toBe(isAdopted);
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    expect(lab.client.culvert('tunnels')).toMatch(
      /^other +kept.*\nvpn +kept +\d+ +yes +no +203\.0\.113\.1:51820 .*\n$/m,
    );
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it.each(CASES)('$what: it is taken away', async ({ leave: leaves }) => {
    await leaves();
    lab.client.culvert('tunnels', '--clean');
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('a program that lives without its link: it is ended, and another one connects', async () => {
    await leave();
    const program = programOf('vpn');
    process.kill(program, 'SIGSTOP');
    lab.vpn.client.namespace.ip('link delete vpn');
    const child = await lab.client.connect(config());
    expect(isThere(program)).toBe(false);
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('a program that answers nothing: it is ended with its link, and another one connects', async () => {
    await leave();
    const program = programOf('vpn');
    process.kill(program, 'SIGSTOP');
    const child = await lab.client.connect(config());
    expect(isThere(program)).toBe(false);
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('name servers that somebody has changed since: what they wrote stays', async () => {
    await leave();
    const path = join(lab.vpn.client.folder, 'resolv.conf');
    writeFileSync(path, 'nameserver 192.0.2.77\n');
    const child = await lab.client.connect(config());
    expect(lab.vpn.state()['names']).toContain('10.9.0.1');
    await kill(child);
    expect(lab.vpn.state()).toEqual({ ...lab.before, names: 'nameserver 192.0.2.77\n' });
    writeFileSync(path, RESOLV_CONF);
  });

  it('another tunnel than is wanted: it is taken away, with what it alone had', async () => {
    await leave('--kill-switch');
    const child = await lab.client.connect(lab.vpn.config({ lines: ['MTU = 1300'] }), '--split', '10.9.0.0/24');
    expect(lab.vpn.client.namespace.run('ip', 'link', 'show', 'vpn')).toContain('mtu 1300');
    const { rules, tables, names } = lab.vpn.state();
    expect({ rules, tables, names }).toEqual({
      rules: lab.before['rules'],
      tables: lab.before['tables'],
      names: lab.before['names'],
    });
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });
});

it('wg-quick has left a tunnel of the same key, and its folder is gone: it is taken over', {
  timeout: 60_000,
}, async () => {
  const folder = mkdtempSync(join(lab.vpn.client.folder, 'quick-'));
  const path = join(folder, 'vpn.conf');
  writeFileSync(path, lab.vpn.config(), { mode: 0o600 });
  lab.vpn.client.run('sh', '-c', `wg-quick up ${path} 2>&1`);
  rmSync(folder, { recursive: true });
  expect(lab.client.pings(SERVER.inside4)).toBe(true);
  const child = await lab.client.connect(config());
  expect(lab.client.pings(SERVER.inside4)).toBe(true);
  await kill(child);
  expect(lab.vpn.state()).toEqual(lab.before);
});

it('of clients that start at once one connects, and the others say who it is', { timeout: 60_000 }, async () => {
  const children = Array.from({ length: 4 }, () => lab.client.start(config()));
  const all = children.map((child) => ({ child, end: ended(child) }));
  const lasting = await Promise.any(
    children.map(async (child) => {
      await lineOf(child, /is connected/);
      return child;
    }),
  );
  const ends = await Promise.all(all.flatMap(({ child, end }) => (child === lasting ? [] : [end])));
  for (const { code, stderr } of ends) {
    expect([code, stderr]).toEqual([1, expect.stringContaining(`pid ${lasting.pid} keeps it; end that`)]);
  }
  expect(lab.client.pings(SERVER.inside4)).toBe(true);
  await kill(lasting);
  expect(lab.vpn.state()).toEqual(lab.before);
});
