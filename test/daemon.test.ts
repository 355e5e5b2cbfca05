import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabHost, OUTSIDE_ADDRESS } from '../lab/host.ts';
import { Pinging } from '../lab/pinging.ts';
import type { SandboxResource, StatusResource } from '../src/api/client/client.ts';
import { DatagramReceiver } from '../src/linux/testing/datagram-receiver.ts';
import { CommandLine, CULVERT, ended, lineOf } from './support/command-line.ts';

/*
 * The life of a daemon on a real kernel, from `up` to `down --purge`:
 *
 *     outside 192.0.2.1 ── eth0 host ── cv-NAME ── router ── sandboxes
 */

const OTHER_RANGES = { host: '10.21.0.0/16', link: '10.22.0.0/16', bridge: '10.23.64.0/24' };

let host: LabHost;
let culvert: CommandLine;

beforeEach(() => {
  host = new LabHost();
  culvert = new CommandLine(host);
});
afterEach(() => host[Symbol.dispose]());

async function create(...parameters: string[]): Promise<SandboxResource> {
  const [sandbox] = await culvert.json<SandboxResource[]>('create', '--egress', 'open', ...parameters);
  if (sandbox === undefined) throw new Error('Nothing was created');
  return sandbox;
}

/** All that a daemon could leave on a host, as text. */
function traces(): Record<string, string> {
  return {
    // that a link has a carrier the kernel tells when it has time
    links: host.run('host', 'ip', '-o', 'link').replaceAll(/NO-CARRIER,| state \w+/g, ''),
    addresses: host.run('host', 'ip', '-o', 'address', 'show', 'scope', 'global'),
    routes: host.run('host', 'ip', 'route', 'show', 'table', 'all').replaceAll(' linkdown ', ' '),
    neighbours: host.run('host', 'ip', 'neighbour', 'show', 'nud', 'permanent'),
    rules: host.run('host', 'nft', 'list', 'ruleset'),
    settings: host.run('host', 'sysctl', '-a', '--pattern', String.raw`^net\.ipv4\.(conf|ip_forward)`),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(culvert.runDir))
      .join('\n'),
  };
}

describe('culvert up', () => {
  it('says that it is ready, once it answers, and where', async () => {
    const line = await culvert.up();
    expect(line).toMatch(/^culvert \S+ main is ready at .*\/api\.sock \(pid \d+, 0 sandboxes\)$/);
    expect(line).toContain(culvert.socket);
    const { pid } = await culvert.json<StatusResource>('status');
    expect(line).toContain(`pid ${pid},`);
    expect(readFileSync(join(culvert.runDir, 'culvert.pid'), 'utf8')).toBe(`${pid}\n`);
    await culvert.kill('SIGINT');
    expect(culvert.exitCode).toBe(0);
  });

  it('refuses folders and a name that another daemon has, and ranges that the host reaches', async () => {
    await culvert.up();
    const [same, sameRun, sameName, sameRanges] = await Promise.all(
      [
        ['--state-dir', culvert.stateDir, '--run-dir', `${culvert.runDir}2`, '--name', 'b'],
        ['--state-dir', `${culvert.stateDir}2`, '--run-dir', culvert.runDir, '--name', 'c'],
        ['--state-dir', `${culvert.stateDir}3`, '--run-dir', `${culvert.runDir}3`],
        ['--state-dir', `${culvert.stateDir}4`, '--run-dir', `${culvert.runDir}4`, '--name', 'd'],
      ].map((parameters) => culvert.run('up', ...parameters)),
    );
    // The name is not at fault where the ranges are: a host checks them in this order.
    expect(sameRun).toMatchObject({ code: 1, stderr: expect.stringMatching(/another daemon does \(pid \d+\)/) });
    expect(sameName).toMatchObject({ code: 1, stderr: expect.stringContaining('Cannot use the name main') });
    expect(sameRanges).toMatchObject({ code: 1, stderr: expect.stringContaining('ranges.host') });
    expect(same?.code).toBe(1);
    const config = { ranges: OTHER_RANGES };
    const second = culvert.start({ config, parameters: ['--run-dir', `${culvert.runDir}5`, '--name', 'e'] });
    expect(await ended(second)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`^culvert: Cannot use ${culvert.stateDir}: another daemon does`)),
    });
    expect(await culvert.json('ls')).toEqual([]);
  });

  it.each([
    [2, { pool: { netns: -1 } }, 'pool.netns'],
    [1, { uplink: 'eth7' }, 'eth7'],
    [1, { ranges: { bridge: '192.0.2.0/24' } }, 'eth0'],
  ])('ends with %d for the config %j, names %s, and changes nothing', async (code, config, what) => {
    const before = traces();
    const result = await ended(culvert.start({ config }));
    expect(result).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(/^culvert: Cannot [^\n]+\n$/) });
    expect(result.stderr).toContain(what);
    expect(traces()).toEqual(before);
  });

  it('binds its socket for its user alone from the first instant', async () => {
    const log = join(host.folder, 'calls');
    await culvert.up({ before: ['strace', '-f', '-qq', '-e', 'trace=umask,bind,chmod,fchmod,fchmodat', '-o', log] });
    await culvert.ok('down');
    const calls = readFileSync(log, 'utf8').split('\n');
    const bind = calls.findIndex((call) => call.includes('bind(') && call.includes('api.sock'));
    const [, thread = 'none', fd] = /^(\d+) +bind\((\d+), /.exec(calls[bind] ?? '') ?? [];
    const before = calls.slice(0, bind).filter((call) => call.startsWith(thread) && call.includes(`fchmod(${fd}, `));
    expect(before.at(-1)).toMatch(/fchmod\(\d+, 0600\) += 0/);
    // that of all threads, which make files meanwhile
    expect(calls.filter((call) => call.includes('umask('))).toEqual([]);
  });

  it('tells a service manager that it is ready, lives and stops', async () => {
    const name = join(host.folder, 'notify');
    using manager = new DatagramReceiver(name);
    await culvert.up({ before: [`NOTIFY_SOCKET=${name}`, 'WATCHDOG_USEC=100000'] });
    const first = await manager.until((datagram) => datagram === 'WATCHDOG=1');
    expect(first[0]).toBe(`READY=1\nSTATUS=Serving ${culvert.socket}`);
    await culvert.kill('SIGTERM');
    expect(manager.received().at(-1)).toBe('STOPPING=1');
    expect(culvert.exitCode).toBe(0);
  });

  it('needs no more than the capabilities of the systemd unit', async () => {
    const unit = readFileSync(new URL('../systemd/culvert.service', import.meta.url), 'utf8');
    const [, names = ''] = /^CapabilityBoundingSet=(.*)$/m.exec(unit) ?? [];
    const set = ['-all', ...names.split(' ').map((name) => name.replace('CAP_', '+').toLowerCase())].join(',');
    await culvert.up({ before: ['setpriv', `--bounding-set=${set}`, `--inh-caps=${set}`, '--no-new-privs'] });
    for (const topology of ['microvm', 'netns', 'bridge']) {
      await create(topology, '--topology', topology, '--tx-rate', '1MB', '--rx-rate', '1MB');
    }
    await culvert.kill('SIGKILL');
    await culvert.up({ before: ['setpriv', `--bounding-set=${set}`, `--inh-caps=${set}`, '--no-new-privs'] });
    expect(await culvert.json<object[]>('ls')).toHaveLength(3);
    expect((await culvert.json<StatusResource>('status')).problems).toEqual([]);
    await culvert.ok('down', '--purge');
  });
});

describe.each([
  ['culvert down', (): Promise<unknown> => culvert.ok('down')],
  ['SIGTERM', () => culvert.kill('SIGTERM')],
  ['SIGKILL', () => culvert.kill('SIGKILL')],
])('after %s', (how, stop) => {
  it('the sandboxes run on, and the next daemon takes them over', async () => {
    await culvert.up();
    const sandbox = await create('runner', '--topology', 'netns');
    const before = await culvert.json<SandboxResource[]>('ls');
    using pinging = new Pinging(sandbox.netns, OUTSIDE_ADDRESS);
    await pinging.replies(5);
    await stop();
    // whoever asked for it may hear of its end before its parent does
    await expect.poll(() => culvert.exitCode).toBe(how === 'SIGKILL' ? null : 0);
    expect(await culvert.run('ls')).toMatchObject({ code: 1, stderr: expect.stringContaining('culvert up') });
    await pinging.replies(10);
    expect(await culvert.up()).toContain('1 sandboxes');
    expect(await culvert.json('ls')).toEqual(before);
    while ((await culvert.json<StatusResource>('status')).adopting) await pause(50);
    await pinging.replies(10);
    expect((await pinging.stop()).lost).toBe(0);
    expect(await culvert.json('reconcile', '--dry-run')).toEqual({ plan: [], applied: false });
    // What it had is its still, and what it is asked for is the same.
    const again = await create('runner', '--topology', 'netns');
    expect(again).toEqual(sandbox);
  });
});

it('what happened while the daemon started is in its events', async () => {
  const config = { ranges: { bridge: '10.8.64.0/29' } };
  await culvert.up({ config });
  await create('--topology', 'bridge', '--count', '4');
  await culvert.kill('SIGTERM');
  await culvert.up({ config });
  const following = culvert.spawn('events', '--json', '--after', 'former-7');
  const followed = ended(following);
  await lineOf(following, /"lost"/);
  await culvert.ok('down');
  expect((await followed).stdout).toMatch(/"type":"bridge\.filling"/);
});

describe('two daemons on one host', () => {
  it('have their own sandboxes, and neither disturbs the other', async () => {
    const other = new CommandLine(host, 'other');
    await culvert.up();
    await other.up({ config: { ranges: OTHER_RANGES } });
    const [mine] = await culvert.json<SandboxResource[]>('create', 'x', '--topology', 'netns', '--egress', 'open');
    const [others] = await other.json<SandboxResource[]>('create', 'x', '--topology', 'netns', '--egress', 'open');
    expect([mine?.hostAddress, others?.hostAddress]).toEqual([
      expect.stringMatching(/^10\.11\./),
      expect.stringMatching(/^10\.21\./),
    ]);
    const ping = ['exec', 'x', '--', 'ping', '-c', '1', '-W', '5', OUTSIDE_ADDRESS];
    await culvert.ok(...ping);
    await other.ok(...ping);
    await other.ok('down', '--purge');
    await culvert.ok(...ping);
    expect(await culvert.json('reconcile', '--dry-run')).toEqual({ plan: [], applied: false });
    expect(host.run('host', 'ip', '-br', 'link')).toContain('cv-main@');
    expect(host.run('host', 'ip', '-br', 'link')).not.toContain('cv-other');
    await culvert.ok('down', '--purge');
    expect(host.run('host', 'ip', '-br', 'link')).not.toContain('cv-main');
  });
});

describe('culvert down --purge', () => {
  it('leaves the host as it was', async () => {
    const before = traces();
    for (let run = 0; run < 2; run++) {
      await culvert.up();
      await create('a', '--topology', 'netns');
      for (const topology of ['microvm', 'bridge']) {
        await create('--topology', topology, '--count', '2', '--tx-rate', '1MB', '--rx-rate', '1MB');
      }
      expect(traces()).not.toEqual(before);
      expect(await culvert.ok('down', '--purge')).toMatch(/^Stopped \(pid \d+\), and removed everything\n$/);
      expect(traces()).toEqual(before);
      expect(culvert.log).toBe('');
    }
  });

  it('leaves the leases, so that no slot has the same generation twice', async () => {
    const config = { limits: { sandboxes: 3 }, pool: { microvm: 0, netns: 0, bridge: 0 } };
    await culvert.up({ config });
    const first = await culvert.json<SandboxResource[]>('create', '--topology', 'netns', '--count', '2');
    expect(first.map(({ generation }) => generation)).toEqual([1, 1]);
    await culvert.ok('down', '--purge');

    await culvert.up({ config });
    expect(await culvert.json('ls')).toEqual([]);
    const all = ['create', '--topology', 'netns', '--count', '3', '--json'];
    let result = await culvert.run(...all);
    // Their addresses rest first.
    while (result.stderr.includes('slots_exhausted')) {
      await pause(100);
      result = await culvert.run(...all);
    }
    const former = new Set(first.map(({ slot }) => slot));
    const second = JSON.parse(result.stdout) as SandboxResource[];
    expect(second.filter(({ generation }) => generation === 2).map(({ slot }) => slot)).toEqual(
      expect.arrayContaining([...former]),
    );
    expect(second.filter(({ slot }) => !former.has(slot)).map(({ generation }) => generation)).toEqual([1]);
    await culvert.ok('down', '--purge');
  });
});

it('is started from wherever, through whatever link', () => {
  const link = join(host.folder, 'culvert');
  host.run('host', 'ln', '-s', CULVERT, link);
  expect(host.run('host', 'sh', '-c', `cd / && ${link} --version`)).toMatch(/^\d+\.\d+\.\d+\n$/);
});
