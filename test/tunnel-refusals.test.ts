import { chmodSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SERVER } from '../lab/vpn.ts';
import { CULVERT, ended, lineOf } from './support/command-line.ts';
import { kill, useTunnelLab } from './support/tunnel-client.ts';
import { layNeighbours } from './support/tunnel-neighbours.ts';

/* What cannot be connected, and what is said of it. */

const lab = useTunnelLab();

/** Connects in vain. @returns what is said of it */
const attempt = async (text: string, ...options: string[]): Promise<string> => {
  const { code, stderr } = await ended(lab.client.start(text, '--timeout', '2', ...options));
  expect(code).not.toBe(0);
  expect(lab.vpn.state()).toEqual(lab.before);
  return stderr;
};

describe('what cannot be connected', { timeout: 120_000 }, () => {
  it('says what was seen, and changes nothing', async () => {
    const at = (Endpoint: string): string => lab.vpn.config({ peer: { Endpoint }, lines: ['DNS = 10.9.0.1'] });
    expect(await attempt(at('nowhere.invalid:51820'))).toMatch(/nowhere\.invalid does not resolve: /);
    expect(await attempt(at(`${SERVER.outside4}:9`))).toMatch(/nobody listens there \(ICMP port unreachable\)/);
    expect(await attempt(at('203.0.113.77:51820'))).toMatch(/cannot reach it|nothing came back/);
    lab.vpn.server.run('wg', 'set', 'wgs', 'peer', lab.vpn.publicKey, 'remove');
    expect(await attempt(lab.vpn.config())).toMatch(/\d+ bytes sent to 203\.0\.113\.1:51820, and nothing came back/);
    lab.vpn.client.namespace.ip(
      `route delete default via ${SERVER.outside4}`,
      `route delete default via ${SERVER.outside6}`,
    );
    lab.before = lab.vpn.state();
    expect(await attempt(at('192.0.2.1:51820'))).toMatch(/this host has no route there/);
  });

  it('is told of by line', async () => {
    expect(await attempt(lab.vpn.config({ lines: ['MTU = many'] }))).toMatch(/line 4/);
    expect(await attempt(lab.vpn.config({ peer: { PublicKey: 'x' } }))).toMatch(/line 6/);
    expect(await attempt(lab.vpn.config(), '--split', '10.0.0.1/8')).toMatch(/did you mean 10\.0\.0\.0\/8/);
    expect(await attempt(lab.vpn.config(), '--name', 'much-too-long-a-name')).toMatch(/15/);
    expect(await attempt(lab.vpn.config(), '--allow', '10.0.0.0/8')).toMatch(
      /Cannot use --allow without --kill-switch/,
    );
  });
});

describe('a name that is another’s is refused, with what it is and whose:', { timeout: 60_000 }, () => {
  const lay: Readonly<Record<string, () => RegExp | Promise<RegExp>>> = {
    'a bridge'() {
      lab.vpn.client.namespace.ip('link add vpn type bridge');
      return /there is a link of kind bridge; choose another name/;
    },
    'a link that says something of itself'() {
      lab.vpn.client.namespace.run('ip', 'link', 'add', 'vpn', 'type', 'veth');
      lab.vpn.client.namespace.run('ip', 'link', 'set', 'vpn', 'alias', 'uplink \u202e of Ann');
      return /there is a link of kind veth, called “uplink \\u\{202e\} of Ann”/;
    },
    'a TUN link of a program that lives'() {
      const program = join(lab.vpn.client.folder, 'acme-vpn');
      copyFileSync('/usr/bin/wireguard-go', program);
      chmodSync(program, 0o755);
      lab.vpn.client.run(program, 'vpn');
      return /there is a TUN link of acme-vpn, pid \d+;/;
    },
    'a TUN link that nobody holds'() {
      lab.vpn.client.namespace.ip('tuntap add vpn mode tun');
      return /there is a TUN link that no process seen from here holds/;
    },
    'a WireGuard of another key'() {
      lab.vpn.client.run('wireguard-go', 'vpn');
      lab.vpn.client.run('wg', 'set', 'vpn', 'private-key', join(lab.vpn.server.folder, 'key'));
      return new RegExp(
        `there is a WireGuard device with another key \\(public key ${escaped(lab.vpn.serverPublicKey)}\\)`,
      );
    },
    async 'a tunnel that a client with other folders keeps'() {
      const other = join(lab.vpn.client.folder, 'other');
      const folders = ['--run-dir', join(other, 'run'), '--state-dir', join(other, 'state')];
      const child = lab.vpn.client.start(CULVERT, 'connect', lab.client.file(lab.vpn.config()), ...folders);
      await lineOf(child, /is connected/);
      return new RegExp(`it is connected by node, pid ${child.pid}; end that \\(culvert disconnect vpn\\)`);
    },
  };

  it.each(Object.keys(lay))('%s', async (what) => {
    await layNeighbours(lab.vpn, lab.client);
    const message = await lay[what]?.();
    lab.before = lab.vpn.state();
    expect(await attempt(lab.vpn.config(), '--kill-switch')).toMatch(message ?? '');
    lab.client.culvert('tunnels', '--clean');
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  const escaped = (text: string): string => text.replace(/[+/=]/g, '\\$&');
});

it('has no mark that is another tunnel’s', async () => {
  await layNeighbours(lab.vpn, lab.client);
  lab.before = lab.vpn.state();
  const message = /Cannot connect vpn: its FwMark 51820 is tunnel other’s; choose another, or none/;
  expect(await attempt(lab.vpn.config({ lines: ['FwMark = 51820'] }))).toMatch(message);
});

it('is ended without a link of its name that another has made meanwhile', async () => {
  const hook = 'PreUp = ip link add vpn type bridge && kill -TERM $PPID';
  const child = lab.client.start(lab.vpn.config({ lines: [hook] }), '--allow-hooks', '--kill-switch');
  await ended(child);
  expect(lab.vpn.client.namespace.run('ip', '-d', 'link', 'show', 'vpn')).toContain('bridge');
  lab.vpn.client.namespace.ip('link delete vpn');
  expect(lab.vpn.state()).toEqual(lab.before);
});

it('is one at a time', async () => {
  const child = await lab.client.connect(lab.vpn.config());
  const { code, stderr } = await ended(lab.client.start(lab.vpn.config()));
  expect([code, stderr]).toEqual([1, expect.stringMatching(/pid \d+ keeps it; end that \(culvert disconnect vpn\)/)]);
  expect(lab.client.pings(SERVER.inside4)).toBe(true);
  await kill(child);
});
