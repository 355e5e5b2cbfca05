import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LabNamespace } from '../lab/namespace.ts';
import { RESOLV_CONF, SERVER } from '../lab/vpn.ts';
import { CULVERT, ended, lineOf } from './support/command-line.ts';
import { kill, useTunnelLab } from './support/tunnel-client.ts';
import { programsIn } from './support/wireguard-seen.ts';

/* What people come upon who use tunnels every day. */

const lab = useTunnelLab();
const DNS = { lines: ['DNS = 10.9.0.1'] };
const MODULE = join(import.meta.dirname, '../src/tunnel/client/tunnel.ts');

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

describe('a tunnel of a program', { timeout: 120_000 }, () => {
  /** Starts a module that has `tunnel`, whose name servers are those of the file. */
  function start(body: string, options: object = {}): ChildProcess {
    const { client, vpn } = lab;
    const folders = { runFolder: client.folder('run'), stateFolder: client.folder('state') };
    const all = JSON.stringify({ name: 'vpn', config: vpn.config(DNS), ...folders, ...options });
    const script = `
      import { readlinkSync } from 'node:fs';
      import { once } from 'node:events';
      import { setTimeout as pause } from 'node:timers/promises';
      import { connect } from ${JSON.stringify(MODULE)};
      const tunnel = await connect(${all});
      console.log('connected', tunnel.wasAdopted);
      ${body}`;
    return vpn.client.start(process.execPath, '--input-type=module', '-e', script);
  }

  it('stays where it is to outlive its program, and is taken over with its session', async () => {
    for (const end of [
      'process.exit(0)',
      "throw new Error('of the program')",
      "process.kill(process.pid, 'SIGTERM')",
    ]) {
      const child = start(end, { staysAtExit: true });
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { stdout } = await ended(child);
      expect(stdout).toBe(`connected ${end !== 'process.exit(0)'}\n`);
      expect(lab.client.pings(SERVER.inside4)).toBe(true);
    }
    lab.client.culvert('disconnect', 'vpn');
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it.each(['leave', 'close'])('is let go by %s while it comes back: its thread stays where it is', async (verb) => {
    const inner = await LabNamespace.make();
    try {
      const child = start(
        `
        const here = () => readlinkSync('/proc/thread-self/ns/net');
        const home = here();
        await once(tunnel, 'down');
        // its device is there again, and nobody answers
        await pause(1500);
        tunnel.${verb}();
        for (let look = 0; look < 20; look++, await pause(50)) if (here() !== home) console.log('elsewhere');
        console.log('over');
        process.exit(0);`,
        { namespace: inner.path },
      );
      const end = ended(child);
      await lineOf(child, /connected/);
      lab.vpn.unserve();
      inner.ip('link delete vpn');
      expect(await end).toMatchObject({ stdout: 'connected false\nover\n', stderr: '' });
      expect(programsIn(lab.vpn.client.namespace.path)).toEqual([]);
      expect(inner.run('ip', '-br', 'link')).not.toContain('vpn');
      expect(lab.vpn.state()).toEqual(lab.before);
    } finally {
      await inner.close();
    }
  });

  it('whose device hangs comes back with another one', async () => {
    const child = await lab.client.connect(lab.vpn.config(DNS));
    const up = lineOf(child, /is connected again/);
    const [hung] = programsIn(lab.vpn.client.namespace.path);
    process.kill(hung?.pid ?? 0, 'SIGSTOP');
    await up;
    const pids = programsIn(lab.vpn.client.namespace.path).map(({ pid }) => pid);
    expect(pids).toEqual([expect.any(Number)]);
    expect(pids).not.toContain(hung?.pid);
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });
});

it('is asked for by what it knows', async () => {
  const script = `
    import { connect } from ${JSON.stringify(MODULE)};
    for (const options of [{ name: 'a', config: '', killswitch: true }, { name: 'a' }]) {
      await connect(options).catch(({ code, message }) => console.log(code, message));
    }`;
  const child = lab.vpn.client.start(process.execPath, '--input-type=module', '-e', script);
  const { stdout } = await ended(child);
  expect(stdout).toMatch(/^tunnel_options Cannot connect with "killswitch": want protocol, config/m);
  expect(stdout).toMatch(/^tunnel_options Cannot connect without config: want a string$/m);
});
