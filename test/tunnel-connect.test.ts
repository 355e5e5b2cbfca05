import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PORT, SERVER } from '../lab/vpn.ts';
import { ended } from './support/command-line.ts';
import { kill, useTunnelLab } from './support/tunnel-client.ts';

/* A tunnel as a person has it, on the command line, to a WireGuard that wg(8) configures: see the drawing in lab/vpn.ts. */

const lab = useTunnelLab();

describe('a tunnel', { timeout: 120_000 }, () => {
  it('takes everything, of both families, and leaves the machine as it was', async () => {
    const child = await lab.client.connect(lab.vpn.config({ lines: ['DNS = 10.9.0.1, corp.example'] }));
    expect([lab.client.pings(SERVER.inside4), lab.client.pings(SERVER.inside6)]).toEqual([true, true]);
    expect(['192.0.2.1', '2001:db8:f::1'].map((to) => lab.client.wayTo(to))).toEqual(['vpn', 'vpn']);
    // what is on a link of the machine's own stays there
    expect([SERVER.outside4, SERVER.outside6].map((to) => lab.client.wayTo(to))).toEqual(['eth0', 'eth0']);
    expect(lab.vpn.state()['names']).toMatch(/nameserver 10\.9\.0\.1\n(.*\n)*search corp\.example\n/);
    expect(lab.client.culvert('tunnels')).toMatch(/^vpn +kept +\d+ +yes +no +203\.0\.113\.1:51820 +\d+ s ago /m);
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('takes what is named, and not what is excluded', async () => {
    const child = await lab.client.connect(lab.vpn.config(), '--split', '10.0.0.0/8', '--exclude', '10.1.0.0/16');
    expect(['10.2.0.1', '10.1.0.1', '192.0.2.1', '2001:db8:f::1'].map((to) => lab.client.wayTo(to))).toEqual([
      'vpn',
      'eth0',
      'eth0',
      'eth0',
    ]);
    expect(lab.vpn.state()).toMatchObject({
      rules: lab.before['rules'],
      tables: lab.before['tables'],
      mark: lab.before['mark'],
    });
    await kill(child, 'SIGINT');
    expect(lab.vpn.state()).toEqual(lab.before);
    const full = await lab.client.connect(lab.vpn.config(), '--exclude', '198.51.100.0/24');
    expect(['192.0.2.1', '198.51.100.1'].map((to) => lab.client.wayTo(to))).toEqual(['vpn', 'eth0']);
    await kill(full, 'SIGHUP');
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('runs the hooks of its file where they are allowed, and writes the file anew where that says so', async () => {
    const log = join(lab.vpn.client.folder, 'hooks');
    const hook = (when: string): string => `${when} = echo ${when} %i >>${log}`;
    const lines = [...['PreUp', 'PostUp', 'PreDown', 'PostDown'].map(hook), 'SaveConfig = true'];
    const child = await lab.client.connect(lab.vpn.config({ lines }), '--allow-hooks');
    expect(readFileSync(log, 'utf8')).toBe('PreUp vpn\nPostUp vpn\n');
    await kill(child);
    expect(readFileSync(log, 'utf8')).toBe('PreUp vpn\nPostUp vpn\nPreDown vpn\nPostDown vpn\n');
    const saved = readFileSync(join(lab.vpn.client.folder, 'vpn.conf'), 'utf8');
    expect(saved).toMatch(/^ListenPort = \d+$/m);
    expect(saved).toContain(`PostUp = echo PostUp %i >>${log}`);
    expect(lab.vpn.state()).toEqual(lab.before);
    // nobody said that they may run
    await kill(await lab.client.connect(saved));
    expect(readFileSync(log, 'utf8')).toBe('PreUp vpn\nPostUp vpn\nPreDown vpn\nPostDown vpn\n');
    const { stderr } = await ended(
      lab.client.start(lab.vpn.config({ lines: ['PostUp = echo no >&2; exit 3'] }), '--allow-hooks'),
    );
    expect(stderr).toMatch(/Cannot run PostUp of vpn, echo no .*: it ended with 3: no/);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('finds its endpoint by name past its kill switch, and again where that has moved', async () => {
    const hosts = join(lab.vpn.client.folder, 'hosts');
    writeFileSync(hosts, `${SERVER.outside4} vpn.example\n`);
    const config = lab.vpn.config({ peer: { Endpoint: `vpn.example:${PORT}`, PersistentKeepalive: '1' } });
    const child = await lab.client.connect(config, '--kill-switch');
    await kill(child, 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    expect(lab.client.pings(SERVER.outside4, 1)).toBe(false);
    const again = await lab.client.connect(config, '--kill-switch');
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    // the server is elsewhere now
    lab.vpn.server.namespace.ip(
      `address delete ${SERVER.outside4}/24 dev eth0`,
      'address add 203.0.113.99/24 dev eth0',
    );
    writeFileSync(hosts, '203.0.113.99 vpn.example\n');
    await expect.poll(() => lab.client.pings(SERVER.inside4), { timeout: 60_000, interval: 500 }).toBe(true);
    await kill(again);
  });

  it('that is ended while it connects leaves nothing', async () => {
    lab.vpn.unserve();
    const child = lab.client.start(lab.vpn.config({ lines: ['DNS = 10.9.0.1'] }), '--kill-switch');
    await expect.poll(() => lab.vpn.state()['links'], { timeout: 10_000 }).toContain('vpn');
    await kill(child, 'SIGINT');
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('says of which family all goes past it, where a kill switch keeps nothing in', async () => {
    const config = lab.vpn.config({ peer: { AllowedIPs: '0.0.0.0/0' } });
    const { child, said } = await lab.client.connectTelling(config);
    expect(said).toContain('IPv6 goes past it, in clear: its AllowedIPs have no ::/0');
    expect(['192.0.2.1', '2001:db8:f::1'].map((to) => lab.client.wayTo(to))).toEqual(['vpn', 'eth0']);
    await kill(child);
    for (const options of [['--kill-switch'], ['--split', '10.0.0.0/8']]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const other = await lab.client.connectTelling(config, ...options);
      expect(other.said).not.toContain('goes past it');
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await kill(other.child);
    }
  });

  it('has IPv4 alone where the host has IPv6 switched off', async () => {
    lab.vpn.client.namespace.run(
      'sysctl',
      '-qw',
      'net.ipv6.conf.all.disable_ipv6=1',
      'net.ipv6.conf.default.disable_ipv6=1',
    );
    lab.before = lab.vpn.state();
    const child = await lab.client.connect(lab.vpn.config());
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    expect(lab.client.wayTo('192.0.2.1')).toBe('vpn');
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });
});
