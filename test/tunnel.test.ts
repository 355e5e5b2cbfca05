import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLIENT, PORT, RESOLV_CONF, SERVER, Vpn } from '../lab/vpn.ts';
import { WireWatch } from '../lab/wire-watch.ts';
import { CULVERT, ended, lineOf } from './support/command-line.ts';

/* A tunnel as a person has it, on the command line, to a WireGuard that wg(8) configures: see the drawing in lab/vpn.ts. */

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

function file(text: string, name = 'vpn'): string {
  const path = join(vpn.client.folder, `${name}.conf`);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function start(text: string, ...options: string[]): ChildProcess {
  return vpn.client.start(CULVERT, 'connect', file(text), ...folders(), ...options);
}

async function connected(text: string, ...options: string[]): Promise<ChildProcess> {
  const child = start(text, ...options);
  await lineOf(child, /is connected/);
  return child;
}

async function kill(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

const culvert = (...parameters: string[]): string => vpn.client.run(CULVERT, ...parameters, ...folders());

function pings(address: string): boolean {
  try {
    vpn.client.namespace.run('ping', '-c', '1', '-W', '1', address);
    return true;
  } catch {
    return false;
  }
}

/** By which link packets to an address leave. */
function wayTo(address: string): string {
  return /dev (\S+)/.exec(vpn.client.namespace.run('ip', 'route', 'get', address))?.[1] ?? '';
}

describe('a tunnel', { timeout: 120_000 }, () => {
  it('takes everything, of both families, and leaves the machine as it was', async () => {
    const child = await connected(vpn.config({ lines: ['DNS = 10.9.0.1, corp.example'] }));
    expect([pings(SERVER.inside4), pings(SERVER.inside6)]).toEqual([true, true]);
    expect(['192.0.2.1', '2001:db8:f::1'].map(wayTo)).toEqual(['vpn', 'vpn']);
    // what is on a link of the machine's own stays there
    expect([SERVER.outside4, SERVER.outside6].map(wayTo)).toEqual(['eth0', 'eth0']);
    expect(vpn.state()['names']).toMatch(/nameserver 10\.9\.0\.1\n(.*\n)*search corp\.example\n/);
    expect(culvert('tunnels')).toMatch(/^vpn +kept +\d+ +yes +no$/m);
    await kill(child);
    expect(vpn.state()).toEqual(before);
  });

  it('takes what is named, and not what is excluded', async () => {
    const child = await connected(vpn.config(), '--split', '10.0.0.0/8', '--exclude', '10.1.0.0/16');
    expect(['10.2.0.1', '10.1.0.1', '192.0.2.1', '2001:db8:f::1'].map(wayTo)).toEqual(['vpn', 'eth0', 'eth0', 'eth0']);
    expect(vpn.state()).toMatchObject({ rules: before['rules'], tables: before['tables'], mark: before['mark'] });
    await kill(child, 'SIGINT');
    expect(vpn.state()).toEqual(before);
    const full = await connected(vpn.config(), '--exclude', '198.51.100.0/24');
    expect(['192.0.2.1', '198.51.100.1'].map(wayTo)).toEqual(['vpn', 'eth0']);
    await kill(full, 'SIGHUP');
    expect(vpn.state()).toEqual(before);
  });

  it('that was killed is taken over as it is, with its session, and ended by whoever says so', async () => {
    const config = vpn.config({ lines: ['DNS = 10.9.0.1'] });
    await kill(await connected(config), 'SIGKILL');
    const left = vpn.state();
    expect(pings(SERVER.inside4)).toBe(true);
    expect(culvert('tunnels')).toMatch(/^vpn +left +- +yes +no$/m);
    const child = start(config, '--json');
    const line = await lineOf(child, /"connected"/);
    expect(JSON.parse(line)).toMatchObject({ wasAdopted: true });
    expect(vpn.state()).toEqual(left);
    culvert('disconnect', 'vpn');
    expect(vpn.state()).toEqual(before);
  });

  it('that was killed is replaced where another is wanted, and where its device has died', async () => {
    await kill(await connected(vpn.config({ lines: ['DNS = 10.9.0.1'] })), 'SIGKILL');
    const other = await connected(vpn.config({ lines: ['MTU = 1300'] }));
    expect(vpn.client.namespace.run('ip', 'link', 'show', 'vpn')).toContain('mtu 1300');
    expect(vpn.state()['names']).toBe(RESOLV_CONF);
    await kill(other, 'SIGKILL');
    vpn.client.namespace.ip('link delete vpn');
    const again = await connected(vpn.config());
    expect(pings(SERVER.inside4)).toBe(true);
    await kill(again);
    expect(vpn.state()).toEqual(before);
  });

  it('that nobody keeps any more is taken away with all that it had', async () => {
    const child = await connected(vpn.config({ lines: ['DNS = 10.9.0.1'] }), '--kill-switch');
    await kill(child, 'SIGKILL');
    expect(culvert('tunnels')).toMatch(/^vpn +left +- +yes +yes$/m);
    culvert('tunnels', '--clean');
    expect(vpn.state()).toEqual(before);
  });

  it('lets nothing past its kill switch, whatever becomes of it', async () => {
    const child = await connected(vpn.config(), '--kill-switch', '--allow', '203.0.113.0/24');
    expect([pings(SERVER.inside4), pings(SERVER.outside4), pings(SERVER.outside6)]).toEqual([true, true, false]);
    await kill(child, 'SIGKILL');
    vpn.client.namespace.ip('link delete vpn');
    expect([pings(SERVER.outside4), pings(SERVER.outside6)]).toEqual([true, false]);
    culvert('disconnect', 'vpn');
    expect([pings(SERVER.outside4), pings(SERVER.outside6)]).toEqual([true, true]);
    expect(vpn.state()).toEqual(before);
  });

  it('runs the hooks of its file where they are allowed, and writes the file anew where that says so', async () => {
    const log = join(vpn.client.folder, 'hooks');
    const hook = (when: string): string => `${when} = echo ${when} %i >>${log}`;
    const lines = [...['PreUp', 'PostUp', 'PreDown', 'PostDown'].map(hook), 'SaveConfig = true'];
    const child = await connected(vpn.config({ lines }), '--allow-hooks');
    expect(readFileSync(log, 'utf8')).toBe('PreUp vpn\nPostUp vpn\n');
    await kill(child);
    expect(readFileSync(log, 'utf8')).toBe('PreUp vpn\nPostUp vpn\nPreDown vpn\nPostDown vpn\n');
    const saved = readFileSync(join(vpn.client.folder, 'vpn.conf'), 'utf8');
    expect(saved).toMatch(/^ListenPort = \d+$/m);
    expect(saved).toContain(`PostUp = echo PostUp %i >>${log}`);
    expect(vpn.state()).toEqual(before);
    // nobody said that they may run
    await kill(await connected(saved));
    expect(readFileSync(log, 'utf8')).toBe('PreUp vpn\nPostUp vpn\nPreDown vpn\nPostDown vpn\n');
    const { stderr } = await ended(start(vpn.config({ lines: ['PostUp = echo no >&2; exit 3'] }), '--allow-hooks'));
    expect(stderr).toMatch(/Cannot run PostUp of vpn, echo no .*: it ended with 3: no/);
    expect(vpn.state()).toEqual(before);
  });

  it('finds its endpoint by name past its kill switch, and again where that has moved', async () => {
    const hosts = join(vpn.client.folder, 'hosts');
    writeFileSync(hosts, `${SERVER.outside4} vpn.example\n`);
    const config = vpn.config({ peer: { Endpoint: `vpn.example:${PORT}`, PersistentKeepalive: '1' } });
    const child = await connected(config, '--kill-switch');
    await kill(child, 'SIGKILL');
    vpn.client.namespace.ip('link delete vpn');
    expect(pings(SERVER.outside4)).toBe(false);
    const again = await connected(config, '--kill-switch');
    expect(pings(SERVER.inside4)).toBe(true);
    // the server is elsewhere now
    vpn.server.namespace.ip(`address delete ${SERVER.outside4}/24 dev eth0`, 'address add 203.0.113.99/24 dev eth0');
    writeFileSync(hosts, '203.0.113.99 vpn.example\n');
    await expect.poll(() => pings(SERVER.inside4), { timeout: 60_000, interval: 500 }).toBe(true);
    await kill(again);
  });

  it('that is ended while it connects leaves nothing', async () => {
    vpn.unserve();
    const child = start(vpn.config({ lines: ['DNS = 10.9.0.1'] }), '--kill-switch');
    await expect.poll(() => vpn.state()['links'], { timeout: 10_000 }).toContain('vpn');
    await kill(child, 'SIGINT');
    expect(vpn.state()).toEqual(before);
  });

  it('that was killed with a kill switch is taken over without one where none is wanted', async () => {
    await kill(await connected(vpn.config(), '--kill-switch'), 'SIGKILL');
    const child = start(vpn.config(), '--json');
    expect(JSON.parse(await lineOf(child, /"connected"/))).toMatchObject({ wasAdopted: true });
    expect(vpn.state()['tables']).not.toContain('culvert_kill_vpn');
    await kill(child);
    expect(vpn.state()).toEqual(before);
  });

  it('has IPv4 alone where the host has IPv6 switched off', async () => {
    vpn.client.namespace.run(
      'sysctl',
      '-qw',
      'net.ipv6.conf.all.disable_ipv6=1',
      'net.ipv6.conf.default.disable_ipv6=1',
    );
    before = vpn.state();
    const child = await connected(vpn.config());
    expect(pings(SERVER.inside4)).toBe(true);
    expect(wayTo('192.0.2.1')).toBe('vpn');
    await kill(child);
    expect(vpn.state()).toEqual(before);
  });

  it('is one at a time', async () => {
    const child = await connected(vpn.config());
    const { code, stderr } = await ended(start(vpn.config()));
    expect([code, stderr]).toEqual([1, expect.stringMatching(/pid \d+ keeps it; end that \(culvert disconnect vpn\)/)]);
    expect(pings(SERVER.inside4)).toBe(true);
    await kill(child);
  });
});

describe('with a kill switch', { timeout: 180_000 }, () => {
  /** What nobody may see: all but encrypted packets, and what keeps a link alive. */
  const LEAKS =
    'not arp and not udp port 51820 and not ip6 multicast and not (icmp6 and ip6[40] >= 133 and ip6[40] <= 136)';
  /** Asks for names, and for others in both families, ten times a second. */
  const TALK = `while :; do
    echo x >/dev/udp/203.0.113.53/53; echo x >/dev/udp/192.0.2.1/9; echo x >/dev/udp/2001:db8:f::1/9; echo x >/dev/udp/${SERVER.inside4}/9
    sleep 0.1
  done 2>/dev/null`;

  it('nothing passes by in clear: as it comes, is killed, is gone, comes back, and while its endpoint is away', async () => {
    await using wire = await WireWatch.start({ wire: vpn.server.namespace.path }, { link: 'eth0', filter: LEAKS });
    const talk = vpn.client.start('bash', '-c', TALK);
    await expect.poll(async () => (await wire.seen()).length).toBeGreaterThan(3);
    const config = vpn.config({ lines: ['DNS = 10.9.0.1'] });
    const first = await connected(config, '--kill-switch');
    await wire.seen();
    await kill(first, 'SIGKILL');
    vpn.client.namespace.ip('link delete vpn');
    await pause(500);
    const second = await connected(config, '--kill-switch');
    vpn.unserve();
    await pause(500);
    await kill(second, 'SIGKILL');
    vpn.client.namespace.ip('link delete vpn');
    const { code } = await ended(start(config, '--kill-switch', '--timeout', '2'));
    expect(code).toBe(1);
    // what stood before a client that could not connect stands after it
    expect(culvert('tunnels')).toMatch(/^vpn +left +- +no +yes$/m);
    await vpn.serve();
    const third = await connected(config, '--kill-switch');
    expect((await wire.seen()).map(({ line }) => line)).toEqual([]);
    await kill(third);
    await expect.poll(async () => (await wire.seen()).length).toBeGreaterThan(3);
    await kill(talk);
    expect(vpn.state()).toEqual(before);
  });
});

describe('what cannot be connected', { timeout: 120_000 }, () => {
  const attempt = async (text: string, ...options: string[]): Promise<string> => {
    const { code, stderr } = await ended(start(text, '--timeout', '2', ...options));
    expect(code).not.toBe(0);
    expect(vpn.state()).toEqual(before);
    return stderr;
  };

  it('says what was seen, and changes nothing', async () => {
    const at = (Endpoint: string): string => vpn.config({ peer: { Endpoint }, lines: ['DNS = 10.9.0.1'] });
    expect(await attempt(at('nowhere.invalid:51820'))).toMatch(/nowhere\.invalid does not resolve: /);
    expect(await attempt(at(`${SERVER.outside4}:9`))).toMatch(/nobody listens there \(ICMP port unreachable\)/);
    expect(await attempt(at('203.0.113.77:51820'))).toMatch(/cannot reach it|nothing came back/);
    vpn.server.run('wg', 'set', 'wgs', 'peer', vpn.publicKey, 'remove');
    expect(await attempt(vpn.config())).toMatch(/\d+ bytes sent to 203\.0\.113\.1:51820, and nothing came back/);
    vpn.client.namespace.ip(
      `route delete default via ${SERVER.outside4}`,
      `route delete default via ${SERVER.outside6}`,
    );
    before = vpn.state();
    expect(await attempt(at('192.0.2.1:51820'))).toMatch(/this host has no route there/);
  });

  it('is refused where its name is another’s', async () => {
    vpn.client.namespace.ip('link add vpn type bridge');
    before = vpn.state();
    expect(await attempt(vpn.config())).toMatch(/there is a link of kind bridge; choose another name/);
    vpn.client.namespace.ip('link delete vpn');
    vpn.client.run('wireguard-go', 'vpn');
    vpn.client.run('wg', 'set', 'vpn', 'private-key', join(vpn.server.folder, 'key'));
    before = vpn.state();
    expect(await attempt(vpn.config())).toMatch(/there is a WireGuard device with another key \(public key /);
  });

  it('is told of by line', async () => {
    expect(await attempt(vpn.config({ lines: ['MTU = many'] }))).toMatch(/line 4/);
    expect(await attempt(vpn.config({ peer: { PublicKey: 'x' } }))).toMatch(/line 6/);
    expect(await attempt(vpn.config(), '--split', '10.0.0.1/8')).toMatch(/did you mean 10\.0\.0\.0\/8/);
    expect(await attempt(vpn.config(), '--name', 'much-too-long-a-name')).toMatch(/15/);
    expect(await attempt(vpn.config(), '--allow', '10.0.0.0/8')).toMatch(/want --kill-switch/);
  });
});

it('is what wg-quick left, of the same key', { timeout: 60_000 }, async () => {
  const path = file(vpn.config());
  vpn.client.run('sh', '-c', `wg-quick up ${path} 2>&1`);
  expect(pings(SERVER.inside4)).toBe(true);
  const child = await connected(vpn.config());
  expect(pings(SERVER.inside4)).toBe(true);
  expect(CLIENT.inside4).toBe('10.9.0.2');
  expect(PORT).toBe(51_820);
  await kill(child);
  expect(vpn.state()['links']).toBe(before['links']);
});
