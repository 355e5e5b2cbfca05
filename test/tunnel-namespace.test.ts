import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabNamespace } from '../lab/namespace.ts';
import { SERVER, Vpn } from '../lab/vpn.ts';
import { CULVERT, ended, lineOf } from './support/command-line.ts';
import { programsIn } from './support/wireguard-seen.ts';

/* A tunnel that is there for another namespace: its link is inside, its encrypted packets are outside. */

let vpn: Vpn;
let inner: LabNamespace;
let before: Record<string, string>;

beforeEach(async () => {
  [vpn, inner] = await Promise.all([Vpn.make(), LabNamespace.make()]);
  inner.ip('link set lo up');
  before = state();
});
afterEach(async () => {
  await inner.close();
  await vpn[Symbol.asyncDispose]();
});

/** All but the tunnel's own socket. */
function state(): Record<string, string> {
  const { sockets: _, ...rest } = vpn.state();
  return rest;
}

const folders = (): string[] => ['run', 'state'].flatMap((one) => [`--${one}-dir`, join(vpn.client.folder, one)]);
const culvert = (...parameters: string[]): string => vpn.client.run(CULVERT, ...parameters, ...folders());

function start(text: string, ...options: string[]): ChildProcess {
  const path = join(vpn.client.folder, 'vpn.conf');
  writeFileSync(path, text, { mode: 0o600 });
  return vpn.client.start(CULVERT, 'connect', path, ...folders(), ...options);
}

async function connected(text: string, ...options: string[]): Promise<{ child: ChildProcess; line: string }> {
  const child = start(text, '--namespace', inner.path, '--json', ...options);
  return { child, line: await lineOf(child, /"connected"/) };
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

function pings(from: LabNamespace, address: string): boolean {
  try {
    from.run('ping', '-c', '1', '-W', '10', address);
    return true;
  } catch {
    return false;
  }
}

describe('a tunnel for a namespace', { timeout: 120_000 }, () => {
  it('is the only way out of it, and leaves the host as it was', async () => {
    const { child } = await connected(vpn.config({ lines: ['DNS = 10.9.0.1'] }));
    expect([SERVER.inside4, SERVER.inside6].map((address) => pings(inner, address))).toEqual([true, true]);
    const links = JSON.parse(inner.run('ip', '-j', 'link')) as { ifname: string }[];
    expect(links.map(({ ifname }) => ifname)).toEqual(['lo', 'vpn']);
    expect(inner.run('ip', '-o', 'route', 'show', 'default')).toMatch(/^default dev vpn /);
    expect(inner.run('ip', '-6', '-o', 'route', 'show', 'default')).toMatch(/^default dev vpn /);
    expect(state()).toEqual(before);
    expect(culvert('tunnels')).toMatch(
      new RegExp(`^vpn +kept +\\d+ +yes +no +${inner.path} +203\\.0\\.113\\.1:51820 `, 'm'),
    );
    await kill(child, 'SIGTERM');
    expect(inner.run('ip', '-j', 'route')).toBe('[]\n');
    expect(inner.run('ip', 'link')).not.toContain('vpn');
    expect(state()).toEqual(before);
  });

  it('that was killed is taken over with its session, or taken away where it is wanted elsewhere', async () => {
    await kill((await connected(vpn.config())).child, 'SIGKILL');
    expect(pings(inner, SERVER.inside4)).toBe(true);
    const { child, line } = await connected(vpn.config());
    expect(JSON.parse(line)).toMatchObject({ wasAdopted: true });
    await kill(child, 'SIGKILL');
    const outside = start(vpn.config(), '--json');
    expect(JSON.parse(await lineOf(outside, /"connected"/))).toMatchObject({ wasAdopted: false });
    expect(inner.run('ip', 'link')).not.toContain('vpn');
    expect(pings(vpn.client.namespace, SERVER.inside4)).toBe(true);
    await kill(outside, 'SIGKILL');
    const again = await connected(vpn.config());
    expect(JSON.parse(again.line)).toMatchObject({ wasAdopted: false });
    expect(state()).toEqual(before);
    await kill(again.child, 'SIGKILL');
    expect(culvert('tunnels', '--clean')).toContain('ip link delete vpn');
    expect(inner.run('ip', 'link')).not.toContain('vpn');
  });

  it('goes when its namespace does, and says so', async () => {
    const { child } = await connected(vpn.config());
    const down = lineOf(child, /"down"/);
    await inner.close();
    expect(await down).toContain('is gone');
    await kill(child, 'SIGTERM');
    expect(state()).toEqual(before);
    inner = await LabNamespace.make();
  });

  it('goes all the same where it is ended in the moment in which nothing is pinned any more, and somebody is inside', async () => {
    const pin = join(vpn.client.folder, 'pin');
    writeFileSync(pin, '');
    execFileSync('mount', ['--bind', inner.path, pin]);
    const child = start(vpn.config(), '--namespace', pin, '--json');
    try {
      await lineOf(child, /"connected"/);
      // it has mounts of its own
      execFileSync('nsenter', ['-t', String(child.pid), '--mount', 'umount', pin]);
    } finally {
      execFileSync('umount', [pin]);
    }
    expect(programsIn(vpn.client.namespace.path).map(({ link }) => link)).toEqual(['vpn']);
    const end = ended(child);
    child.kill('SIGTERM');
    expect(await end).toMatchObject({ stderr: '' });
    expect(inner.run('ip', 'link')).not.toContain('vpn');
    expect(programsIn(vpn.client.namespace.path)).toEqual([]);
    expect(vpn.state()).toEqual({ ...before, sockets: '' });
  });

  it('is refused where packets could leave by another way, and where it can have no kill switch', async () => {
    const attempt = async (...options: string[]): Promise<string> => {
      const { code, stderr } = await ended(start(vpn.config(), '--namespace', inner.path, ...options));
      expect(code).not.toBe(0);
      return stderr;
    };
    inner.ip('link add eth0 type veth peer name eth1', 'link set eth0 up', 'link set eth1 up');
    inner.ip('address add 198.51.100.2/24 dev eth0', 'route add default via 198.51.100.1');
    expect(await attempt()).toMatch(/has a default route by eth0, past the tunnel; delete it, or say --split/);
    expect(await attempt('--kill-switch')).toMatch(/Cannot have a kill switch for a namespace/);
    const missing = await ended(start(vpn.config(), '--namespace', '/run/netns/none'));
    expect(missing.stderr).toMatch(/there is no network namespace \/run\/netns\/none/);
    inner.ip('route delete default');
    await kill((await connected(vpn.config())).child, 'SIGTERM');
    expect(state()).toEqual(before);
  });
});
