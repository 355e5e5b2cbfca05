import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RESOLV_CONF, SERVER } from '../lab/vpn.ts';
import { CULVERT, ended, lineOf } from './support/command-line.ts';
import { kill, useTunnelLab } from './support/tunnel-client.ts';

/* What people come upon who use tunnels every day. */

const lab = useTunnelLab();
const DNS = { lines: ['DNS = 10.9.0.1'] };

describe('a tunnel', { timeout: 120_000 }, () => {
  it('is made in the folders that it has by default, which are below those that its program is to see', async () => {
    const { vpn, client } = lab;
    const file = client.file(vpn.config());
    // each process of the lab has a /run of its own
    const child = vpn.client.start(CULVERT, 'connect', file, '--state-dir', client.folder('state'));
    await lineOf(child, /is connected/);
    expect(client.pings(SERVER.inside4)).toBe(true);
    await kill(child);
    expect(vpn.state()).toEqual(lab.before);
  });

  it('comes back by itself where its link is deleted, and lets nothing by meanwhile that a kill switch stops', async () => {
    const child = await lab.client.connect(lab.vpn.config(DNS), '--kill-switch');
    const up = lineOf(child, /is connected again/);
    lab.vpn.client.namespace.ip('link delete vpn');
    expect(lab.client.pings(SERVER.outside4, 1)).toBe(false);
    await up;
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    expect(lab.client.pings(SERVER.outside4, 1)).toBe(false);
    expect(lab.vpn.state()['names']).toContain('nameserver 10.9.0.1');
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('is ended while it comes back, and leaves nothing', async () => {
    const child = await lab.client.connect(lab.vpn.config(DNS));
    const down = lineOf(child, /is down/);
    lab.vpn.unserve();
    lab.vpn.client.namespace.ip('link delete vpn');
    await down;
    // its handshakes are not answered now
    await expect.poll(() => lab.vpn.state()['links'], { timeout: 10_000 }).toContain('vpn');
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('opens what a dead client has shut when it is there, and not before', async () => {
    await kill(await lab.client.connect(lab.vpn.config(), '--kill-switch'), 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    lab.vpn.unserve();
    const { code } = await ended(lab.client.start(lab.vpn.config(), '--timeout', '2'));
    expect(code).toBe(1);
    expect(lab.client.pings(SERVER.outside4, 1)).toBe(false);
    await lab.vpn.serve();
    const { child, said } = await lab.client.connectTelling(lab.vpn.config());
    expect(said).toContain('the kill switch that stood is taken away');
    expect(lab.client.pings(SERVER.outside4)).toBe(true);
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('frees names that a dead one of another name has taken along', async () => {
    await kill(await lab.client.connect(lab.vpn.config(DNS)), 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    expect(lab.vpn.state()['names']).toContain('10.9.0.1');
    const { child, said } = await lab.client.connectTelling(lab.vpn.config(), '--name', 'other');
    expect(said).toContain('name servers of tunnel vpn, which is gone');
    expect(lab.vpn.state()['names']).toBe(RESOLV_CONF);
    await kill(child);
    lab.client.culvert('tunnels', '--clean');
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('lets on what the host forwards, and says which lines of its file are not run', async () => {
    const setting = 'net.ipv4.conf.vpn.forwarding';
    const text = lab.vpn.config({ lines: ['PostUp = true', 'PreDown = true'] });
    const { child, said } = await lab.client.connectTelling(text);
    expect(said).toContain('PostUp, PreDown of the file are not run: say --allow-hooks');
    expect(lab.vpn.client.namespace.run('sysctl', '-n', setting)).toBe('0\n');
    await kill(child);
    lab.vpn.client.namespace.run('sysctl', '-qw', 'net.ipv4.conf.eth0.forwarding=1');
    const again = await lab.client.connect(text);
    expect(lab.vpn.client.namespace.run('sysctl', '-n', setting)).toBe('1\n');
    await kill(again);
  });
});

it('is asked for by what it knows', async () => {
  const script = `
    import { connect } from ${JSON.stringify(join(import.meta.dirname, '../src/tunnel/client/tunnel.ts'))};
    for (const options of [{ name: 'a', config: '', killswitch: true }, { name: 'a' }]) {
      await connect(options).catch(({ code, message }) => console.log(code, message));
    }`;
  const child = lab.vpn.client.start(process.execPath, '--input-type=module', '-e', script);
  const { stdout } = await ended(child);
  expect(stdout).toMatch(/^tunnel_options Cannot connect with "killswitch": want protocol, config/m);
  expect(stdout).toMatch(/^tunnel_options Cannot connect without config: want a string$/m);
});
