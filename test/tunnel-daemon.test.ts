import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SERVER, Vpn } from '../lab/vpn.ts';
import type { StatusResource } from '../src/api/client/client.ts';
import { GRACE_MS } from '../src/daemon/tunnels/tunnel-watch.ts';
import { createNamespace, removeNamespace } from '../src/linux/namespace.ts';
import { CULVERT, ended, lineOf } from './support/command-line.ts';

/* A daemon in a host's root namespace, and clients there that are killed: see the drawing in lab/vpn.ts. */

let vpn: Vpn;
let daemon: ChildProcess | undefined;
/** With the daemon, and no tunnel. */
let before: Record<string, string>;
/** What `culvert events` has printed since the daemon is up. */
let events: string;

const at = (...path: string[]): string => join(vpn.client.folder, ...path);
const folders = (): string[] => ['--run-dir', at('run'), '--state-dir', at('state')];

/** As systemd runs it: with the capabilities that the unit names, and no others to come. */
function asUnit(): string[] {
  const unit = readFileSync(join(import.meta.dirname, '..', 'systemd', 'culvert.service'), 'utf8');
  const names = /^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1]?.toLowerCase().replaceAll('cap_', '+') ?? '';
  return ['setpriv', '--no-new-privs', `--bounding-set=-all,${names.replaceAll(' ', ',')}`];
}

async function up(): Promise<void> {
  writeFileSync(
    at('config.json'),
    JSON.stringify({
      pool: { microvm: 0, netns: 0, bridge: 0 },
      connect: { runDir: at('run'), stateDir: at('state') },
    }),
  );
  mkdirSync(at('daemon'), { recursive: true });
  const own = ['--run-dir', at('daemon', 'run'), '--state-dir', at('daemon', 'state'), '--config', at('config.json')];
  daemon = vpn.client.start(...asUnit(), CULVERT, 'up', ...own);
  await lineOf(daemon, /is ready/);
  events = '';
  const following = vpn.client.start('env', socket(), CULVERT, 'events', '--json', '--after', 'former-0');
  following.stdout?.on('data', (chunk: Buffer) => {
    events += chunk.toString();
  });
  // the kernel says so of a link in its time
  await expect.poll(() => vpn.client.namespace.run('ip', '-br', 'link', 'show', 'cv-main')).toMatch(/ UP /);
  before = vpn.state();
}

async function down(signal: NodeJS.Signals): Promise<void> {
  const child = daemon;
  daemon = undefined;
  if (child === undefined) return;
  await kill(child, signal);
  // its pins were in a mount namespace of its own, and what it had goes with that
  await expect.poll(() => vpn.state()['links'], { timeout: 60_000 }).not.toContain('cv-main');
}

const socket = (): string => `CULVERT_SOCKET=${at('daemon', 'run', 'api.sock')}`;

function status(): StatusResource {
  return JSON.parse(vpn.client.run('env', socket(), CULVERT, 'status', '--json')) as StatusResource;
}

async function connected(name: string, text: string, ...options: string[]): Promise<ChildProcess> {
  const path = at(`${name}.conf`);
  writeFileSync(path, text, { mode: 0o600 });
  const child = vpn.client.start(CULVERT, 'connect', path, ...folders(), ...options);
  await lineOf(child, /is connected/);
  return child;
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

const links = (): string => vpn.client.namespace.run('ip', '-br', 'link');
const tables = (): string => vpn.client.namespace.run('nft', 'list', 'tables');
const cleanings = (): unknown[] =>
  events
    .split('\n')
    .filter((line) => line.includes('tunnel.cleaned'))
    .map((line) => (JSON.parse(line) as { event: { data: unknown } }).event.data);

/** What the daemon has open. */
function opened(): string[] {
  const folder = `/proc/${daemon?.pid}/fd`;
  return readdirSync(folder).map((fd) => readlinkSync(join(folder, fd)));
}

beforeEach(async () => {
  vpn = await Vpn.make();
});
afterEach(async () => {
  await down('SIGKILL');
  await vpn[Symbol.asyncDispose]();
});

describe('a daemon beside a tunnel', { timeout: 180_000 }, () => {
  it('takes away what a client has left that was killed, but for its kill switch', async () => {
    await up();
    const options = ['--kill-switch', '--allow', '203.0.113.0/24'];
    const child = await connected('vpn', vpn.config({ lines: ['DNS = 10.9.0.1'] }), ...options);
    await kill(child, 'SIGKILL');
    await expect.poll(cleanings, { timeout: 60_000 }).toHaveLength(1);
    const { tables: left, ...state } = vpn.state();
    expect({ ...state, tables: before['tables'] }).toEqual(before);
    expect(left).toContain('table inet culvert_kill_vpn');
    expect(left).not.toContain('culvert_tunnel_vpn');
    expect(cleanings()).toMatchObject([
      { tunnel: 'vpn', done: expect.arrayContaining(['name servers: restored', 'ip link delete vpn']), failed: [] },
    ]);
    vpn.client.run(CULVERT, 'tunnels', '--clean', ...folders());
    expect(vpn.state()).toEqual(before);
  });

  it('leaves it to a client that is started again at once, with its session', async () => {
    await up();
    const text = vpn.config({ lines: ['DNS = 10.9.0.1'] });
    await kill(await connected('vpn', text), 'SIGKILL');
    const again = vpn.client.start(CULVERT, 'connect', at('vpn.conf'), ...folders());
    await lineOf(again, /adopted vpn/);
    await pause(GRACE_MS + 1000);
    vpn.client.namespace.run('ping', '-c', '1', '-W', '5', SERVER.inside4);
    expect(cleanings()).toEqual([]);
    await kill(again, 'SIGKILL');
    await expect.poll(cleanings, { timeout: 60_000 }).toHaveLength(1);
    expect(vpn.state()).toEqual(before);
  });

  it('takes away what was left while there was no daemon, with a link or without', async () => {
    await up();
    const bare = before;
    await down('SIGKILL');
    const parts = { peer: { AllowedIPs: '10.77.0.0/16' } };
    const text = (dns: string): string => vpn.config({ lines: [`DNS = ${dns}`, 'Table = auto'], ...parts });
    await kill(await connected('vpn', vpn.config({ lines: ['DNS = 10.9.0.1'] })), 'SIGKILL');
    await kill(await connected('other', text('10.9.0.9')), 'SIGKILL');
    // as when the program that made it was killed too
    vpn.client.namespace.ip('link delete other');
    await up();
    await expect.poll(cleanings, { timeout: 60_000 }).toHaveLength(2);
    expect(vpn.state()).toEqual(bare);
    expect(status().problems).toEqual([]);
  });

  it('takes away the dead one of two', async () => {
    await up();
    const live = await connected('live', vpn.config({ peer: { AllowedIPs: '10.0.0.0/8, fd09::/64' } }));
    const dead = await connected('dead', vpn.config({ lines: ['DNS = 10.9.0.9'] }), '--timeout', '0');
    await kill(dead, 'SIGKILL');
    await expect.poll(cleanings, { timeout: 60_000 }).toHaveLength(1);
    expect(links()).not.toMatch(/^dead /m);
    expect(links()).toMatch(/^live /m);
    expect(vpn.client.namespace.run('ip', 'route')).toContain('10.0.0.0/8 dev live');
    await kill(live, 'SIGTERM');
    expect(vpn.state()).toEqual(before);
  });

  it('takes away one whose link is in another namespace', async () => {
    const inner = at('inner');
    createNamespace(inner, () => undefined);
    try {
      await up();
      const child = await connected('vpn', vpn.config(), '--namespace', inner);
      const inside = (): string => vpn.client.namespace.run('nsenter', `--net=${inner}`, 'ip', '-br', 'link');
      expect(inside()).toMatch(/^vpn /m);
      await kill(child, 'SIGKILL');
      await expect.poll(cleanings, { timeout: 60_000 }).toHaveLength(1);
      expect(inside()).not.toMatch(/^vpn /m);
      expect(vpn.state()).toEqual(before);
    } finally {
      removeNamespace(inner);
    }
  });

  it('says what it cannot take away, and does it when it can', async () => {
    await up();
    const child = await connected('vpn', vpn.config());
    await kill(child, 'SIGKILL');
    // somebody else's, with the name of the tunnel's
    vpn.client.namespace.run('nft', 'delete table inet culvert_tunnel_vpn; add table inet culvert_tunnel_vpn');
    await expect.poll(() => status().problems, { timeout: 60_000 }).toMatchObject([{ code: 'tunnel_left' }]);
    expect(links()).not.toMatch(/^vpn /m);
    vpn.client.namespace.run('nft', 'delete table inet culvert_tunnel_vpn');
    await expect.poll(() => status().problems, { timeout: 60_000 }).toEqual([]);
    expect(vpn.state()).toEqual(before);
  });

  it('stops at once while it watches, and leaves the tunnel alone', async () => {
    await up();
    const child = await connected('vpn', vpn.config());
    await expect.poll(opened, { timeout: 60_000 }).toContain('anon_inode:[pidfd]');
    const end = daemon && ended(daemon);
    daemon?.kill('SIGTERM');
    expect((await end)?.code).toBe(0);
    daemon = undefined;
    expect(tables()).toContain('culvert_tunnel_vpn');
    await kill(child, 'SIGTERM');
    expect(links()).not.toMatch(/^vpn /m);
  });
});
