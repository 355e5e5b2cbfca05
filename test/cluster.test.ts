import { execFile, execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabEtcd } from '../lab/etcd.ts';
import { Underlay } from '../lab/underlay.ts';
import type { HostResource, SandboxResource } from '../src/api/client/client.ts';
import { systemClock } from '../src/clock.ts';
import { EmbeddedRegistry } from '../src/cluster/embedded/registry.ts';
import { HostDaemon as Daemon, type UpOptions } from './support/host-daemon.ts';

/*
 * Daemons as people run them, each on a host of its own, and an etcd that all of them reach:
 *
 *     h1 ──┐
 *     h2 ──┤ wire ── etcd at 192.0.2.11, the first host's
 *     h3 ──┘
 */

const execute = promisify(execFile);

const PATIENCE = { timeout: 30_000, interval: 50 };

describe('a cluster of three hosts', { timeout: 180_000 }, () => {
  let opened: AsyncDisposableStack;
  let etcd: LabEtcd;
  let daemons: Daemon[];

  beforeEach(async () => {
    opened = new AsyncDisposableStack();
    const underlay = opened.use(new Underlay(3));
    const [first] = underlay.hosts;
    if (first === undefined) throw new Error('There are three');
    etcd = opened.use(await LabEtcd.start({ on: first }));
    daemons = underlay.hosts.map((place) => new Daemon(place, `etcd://${etcd.endpoints.join(',')}/lab`));
    opened.defer(async () => {
      await Promise.all(daemons.map((daemon) => daemon.kill()));
    });
    await Promise.all(daemons.map((daemon) => daemon.up()));
  });
  afterEach(() => opened.disposeAsync());

  const others = (daemon: Daemon): string[] =>
    daemons
      .filter((one) => one !== daemon)
      .map((one) => one.subnet())
      .toSorted();

  it('has a subnet for each, a way to each from each, and keeps them over a kill and without etcd', async () => {
    expect(new Set(daemons.map((daemon) => daemon.subnet())).size).toBe(3);
    for (const daemon of daemons) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect.poll(() => daemon.routes(), PATIENCE).toEqual(others(daemon));
      expect(daemon.problems()).toEqual([]);
      expect(statSync(join(daemon.stateDir, 'wireguard.key')).mode & 0o777).toBe(0o600);
    }
    const [one, two] = daemons;
    if (one === undefined || two === undefined) throw new Error('There are three');
    const created = two.json('create', 'a', '--topology', 'netns') as SandboxResource[];
    const subnet = two.subnet();
    expect(created[0]?.hostAddress.split('.').slice(0, 2)).toEqual(subnet.split('.').slice(0, 2));
    // what runs goes on with the registry away, and a daemon that is killed is back without it
    await etcd.kill(0);
    await two.kill();
    await two.up();
    expect(two.subnet()).toBe(subnet);
    expect(two.problems()).toEqual(['registry_away']);
    expect(two.routes()).toEqual(others(two));
    expect(two.json('ls')).toMatchObject([{ id: 'a', hostAddress: created[0]?.hostAddress }]);
    two.run('create', 'b', '--topology', 'netns');
    etcd.launch(0);
    await etcd.ready();
    await expect.poll(() => two.problems(), PATIENCE).toEqual([]);
    // a host that leaves for good is nobody's way any more
    one.run('down', '--purge');
    await expect.poll(() => two.routes(), PATIENCE).toEqual([daemons[2]?.subnet()]);
    const keys = etcd.control('get', '--prefix', '', '--keys-only');
    expect(keys).not.toContain('h1');
    const secrets = daemons
      .slice(1)
      .map((daemon) => readFileSync(join(daemon.stateDir, 'wireguard.key'), 'utf8').trim());
    const told = etcd.control('get', '--prefix', '');
    for (const secret of secrets) expect(told).not.toContain(secret);
  });
});

describe('a host', { timeout: 120_000 }, () => {
  let opened: AsyncDisposableStack;
  let one: Daemon;
  let other: Daemon;

  beforeEach(() => {
    opened = new AsyncDisposableStack();
    const underlay = opened.use(new Underlay(2));
    const [first, second] = underlay.hosts;
    if (first === undefined || second === undefined) throw new Error('There are two');
    const registry = `file:${join(first.folder, 'registry.sqlite')}`;
    one = new Daemon(first, registry);
    other = new Daemon(second, registry);
    opened.defer(async () => void (await Promise.all([one.kill(), other.kill()])));
  });
  afterEach(() => opened.disposeAsync());

  it('with sandboxes of its own does not join, nor one with the cluster’s leave it', async () => {
    await one.up({ alone: true });
    one.run('create', 'a', '--topology', 'netns');
    one.run('down');
    await expect(one.up()).rejects.toThrow(/Cannot join a cluster: 1 sandboxes have addresses of 10\.11\.0\.0\/16/);
    await one.up({ alone: true });
    one.run('down', '--purge');
    await one.up();
    one.run('create', 'b', '--topology', 'netns');
    one.run('down');
    await expect(one.up({ alone: true })).rejects.toThrow(
      /Cannot start outside of a cluster: 1 sandboxes have addresses/,
    );
    await one.up();
    expect(one.json('ls')).toMatchObject([{ id: 'b' }]);
  });

  it('is told why it cannot join', async () => {
    await expect(one.up({ alone: true, cluster: {} })).rejects.toThrow(/cluster\.registry is missing/);
    await one.up();
    const attempts: [UpOptions, RegExp][] = [
      [{ name: 'h1' }, /another machine of that name is there/],
      [{ cluster: { range: '10.128.0.0/10' } }, /it has 10\.64\.0\.0\/10 in subnets of \/20, and the config says/],
      [{ cluster: { range: '192.0.0.0/10' } }, /Cannot use 192\.0\.0\.0\/10 as cluster\.range: the host reaches/],
      [{ cluster: { subnetLength: 24 } }, /Cannot claim a subnet of \/24/],
      [{ cluster: { endpoint: 'host.example.com' } }, /Cannot read "host\.example\.com" as an IPv4 address/],
      [{ cluster: { presharedKeyFile: '/nonexistent' } }, /Cannot use the pre-shared key in \/nonexistent: ENOENT/],
      [{ alone: true, cluster: { registry: 'etcd://nowhere.invalid:2379' } }, /nowhere\.invalid does not resolve/],
    ];
    const key = join(other.stateDir, 'wireguard.key');
    mkdirSync(other.stateDir, { recursive: true });
    writeFileSync(key, 'no key', { mode: 0o600 });
    await expect(other.up()).rejects.toThrow(/Cannot use the private key in .*: .*; put back what it held/);
    rmSync(key);
    for (const [options, reason] of attempts) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect(other.up(options)).rejects.toThrow(reason);
    }
    await other.up({ cluster: { subnetLength: 19 } });
    await expect.poll(() => one.routes(), PATIENCE).toEqual([other.subnet()]);
    expect(other.subnet()).toMatch(/\/19$/);
  });

  it('that joins and cannot start gives its place back, unless it has been there before', async () => {
    await using registry = new EmbeddedRegistry(join(one.place.folder, 'registry.sqlite'), systemClock());
    const keys = async (): Promise<string[]> => (await registry.list('')).entries.map(({ key }) => key);
    const unfit = { ranges: { bridge: '192.0.2.0/24' } };
    await expect(one.up(unfit)).rejects.toThrow(/Cannot use 192\.0\.2\.0\/24 as ranges\.bridge/);
    expect(await keys()).toEqual(['cluster', 'mesh/epoch']);
    await one.up();
    const subnet = one.subnet();
    one.run('down');
    await expect(one.up(unfit)).rejects.toThrow(/Cannot use 192\.0\.2\.0\/24 as ranges\.bridge/);
    expect(await keys()).toEqual([
      'cluster',
      expect.stringMatching(/^holds/),
      'hosts/h1',
      'mesh/epoch',
      expect.stringMatching(/^subn/),
    ]);
    await one.up();
    expect(one.subnet()).toBe(subnet);
  });

  it('has its WireGuard back where that has died, with the way to the others', async () => {
    await Promise.all([one.up(), other.up()]);
    await expect.poll(() => one.routes(), PATIENCE).toEqual([other.subnet()]);
    expect(one.run('reconcile', '--dry-run')).toBe('');
    const router = join(one.runDir, 'netns', 'router');
    execFileSync('nsenter', [`--net=${router}`, 'ip', 'link', 'delete', 'wa-h1']);
    await expect.poll(() => one.routes(), PATIENCE).toEqual([other.subnet()]);
    expect(one.problems()).toEqual([]);
  });

  it('shows who is there, and is rid of one that is gone for good when a person says so', async () => {
    await Promise.all([one.up(), other.up()]);
    const hosts = (): HostResource[] => one.json('hosts') as HostResource[];
    await expect.poll(hosts, PATIENCE).toMatchObject([
      { name: 'h1', isSelf: true, isAlive: true, subnet: one.subnet(), endpoint: '192.0.2.11:51820', mtu: 1420 },
      { name: 'h2', isSelf: false, isAlive: true, subnet: other.subnet(), endpoint: '192.0.2.12:51820', mtu: 1420 },
    ]);
    expect(() => one.run('hosts', 'remove', 'h2')).toThrow(/Cannot remove host h2: it is there/);
    expect(() => one.run('hosts', 'remove', 'h3')).toThrow(/the cluster has none of that name/);
    await other.kill();
    await expect.poll(() => one.run('hosts'), PATIENCE).toMatch(/^h2 +lost /m);
    // one that is lost keeps its place, and the way to it
    expect(one.routes()).toEqual([other.subnet()]);
    expect(one.run('hosts', 'remove', 'h2')).toBe('Removed host h2; its subnet is free\n');
    await expect.poll(() => one.routes(), PATIENCE).toEqual(['']);
    expect(hosts()).toHaveLength(1);
    // with nothing but networks that wait for an owner it is as one that comes for the first time
    await other.up();
    expect(other.problems()).toEqual([]);
    await expect.poll(() => one.routes(), PATIENCE).toEqual([other.subnet()]);
  });

  it('that has lost its subnet while its daemon was away has its sandboxes still, and makes none', async () => {
    await other.up();
    const [created] = other.json('create', 'a', '--topology', 'netns') as SandboxResource[];
    await other.kill();
    await using registry = new EmbeddedRegistry(join(one.place.folder, 'registry.sqlite'), systemClock());
    const kept = new Set(['cluster', 'mesh/epoch']);
    const keys = (await registry.list('')).entries.map(({ key }) => key).filter((key) => !kept.has(key));
    await registry.commit(
      [],
      keys.map((key) => ({ key, value: undefined })),
    );
    await other.up();
    expect(other.problems()).toEqual(['expelled']);
    expect(other.run('status')).toContain(`its sandboxes have addresses of ${other.subnet()}`);
    expect(other.json('ls')).toMatchObject([{ id: 'a', hostAddress: created?.hostAddress }]);
    expect(() => other.run('create', 'b', '--topology', 'netns')).toThrow(/which the cluster has given away/);
    other.run('exec', 'a', '--', 'ping', '-c', '1', '-W', '5', '10.12.0.0');
    other.run('rm', 'a');
    expect(other.json('ls')).toEqual([]);
    other.run('down');
    await other.up();
    expect(other.problems()).toEqual([]);
    other.run('create', 'b', '--topology', 'netns');
  });

  it('tells the others where it is reached when its uplink has another address, and that it has less room', async () => {
    await Promise.all([one.up(), other.up()]);
    const endpoints = (): unknown => (one.json('hosts') as HostResource[]).map(({ endpoint }) => endpoint);
    await expect.poll(endpoints, PATIENCE).toEqual(['192.0.2.11:51820', '192.0.2.12:51820']);
    const ip = (...parameters: string[]): string =>
      execFileSync('nsenter', [`--net=${other.place.pin}`, 'ip', ...parameters], { encoding: 'utf8' });
    ip('address', 'add', '192.0.2.112/24', 'dev', 'eth0');
    ip('address', 'delete', '192.0.2.12/24', 'dev', 'eth0');
    ip('address', 'replace', '192.0.2.112/24', 'dev', 'eth0');
    ip('link', 'set', 'eth0', 'mtu', '1400');
    await expect.poll(endpoints, PATIENCE).toEqual(['192.0.2.11:51820', '192.0.2.112:51820']);
    await expect.poll(() => other.problems(), PATIENCE).toEqual(['uplink_mtu']);
    ip('link', 'set', 'eth0', 'mtu', '1500');
    await expect.poll(() => other.problems(), PATIENCE).toEqual([]);
    expect(one.problems()).toEqual([]);
  });

  it('has its sandboxes and their subnet under another name, and the others know it by that', async () => {
    await Promise.all([one.up(), other.up()]);
    other.run('create', 'a', '--topology', 'netns');
    other.run('down');
    await other.up({ cluster: { name: 'renamed' } });
    expect(other.json('ls')).toMatchObject([{ id: 'a' }]);
    await expect.poll(() => one.json('hosts'), PATIENCE).toMatchObject([{ name: 'h1' }, { name: 'renamed' }]);
    await expect.poll(() => one.routes(), PATIENCE).toEqual([other.subnet()]);
    expect([...one.problems(), ...other.problems()]).toEqual([]);
  });

  it('that has a copy of another’s state folder is refused, and one that is killed is back at once', async () => {
    await one.up();
    cpSync(one.stateDir, other.stateDir, { recursive: true });
    await expect(other.up({ name: 'h1' })).rejects.toThrow(/a daemon with a copy of this state folder is there/);
    expect(one.problems()).toEqual([]);
    await using registry = new EmbeddedRegistry(join(one.place.folder, 'registry.sqlite'), systemClock());
    const former = await registry.get('alive/h1');
    const told: (string | undefined)[] = [];
    const giveUp = new AbortController();
    const following = (async () => {
      for await (const news of registry.follow('alive/', giveUp.signal)) {
        if (news.kind === 'changes') told.push(...news.changes.map(({ value }) => value));
      }
    })();
    await one.kill();
    await one.up();
    expect(one.problems()).toEqual([]);
    await expect.poll(() => told, PATIENCE).toHaveLength(1);
    giveUp.abort();
    await following;
    // it has not waited for what the killed one said to be over
    expect(told).toEqual([expect.stringContaining('"place"')]);
    expect(told).not.toEqual([former?.value]);
  });

  it('shows on every host which one takes no new sandboxes', async () => {
    await Promise.all([one.up(), other.up()]);
    other.run('create', 'a', '--topology', 'netns');
    other.run('drain');
    const draining = (daemon: Daemon): string[] =>
      (daemon.json('hosts') as HostResource[]).filter(({ isDraining }) => isDraining).map(({ name }) => name);
    for (const daemon of [one, other]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect.poll(() => draining(daemon), PATIENCE).toEqual(['h2']);
    }
    expect(one.run('hosts')).toMatch(/^h2 +alive, draining /m);
    expect(() => other.run('create', 'b', '--topology', 'netns')).toThrow(/on host h2: it is draining since .*undrain/);
    one.run('create', 'b', '--topology', 'netns');
    await other.kill();
    await other.up();
    expect(draining(one)).toEqual(['h2']);
    const waiting = execute('nsenter', other.command('drain', '--wait'));
    other.run('rm', 'a');
    expect((await waiting).stdout).toBe('Host h2 takes no new sandboxes; none is left\n');
    other.run('undrain');
    await expect.poll(() => draining(one), PATIENCE).toEqual([]);
    other.run('create', 'b', '--topology', 'netns');
  });

  it('takes no way from another that is not of the cluster, and goes on with the others', async () => {
    await Promise.all([one.up(), other.up()]);
    await expect.poll(() => one.routes(), PATIENCE).toEqual([other.subnet()]);
    await using registry = new EmbeddedRegistry(join(one.place.folder, 'registry.sqlite'), systemClock());
    const record = { format: 1, identity: randomUUID(), generation: 1, version: '1' };
    const keys = [{ rotation: 0, publicKey: Buffer.alloc(32, 8).toString('base64'), port: 51_820 }];
    const published = { address: '192.0.2.99', clearPort: 51_830, keys, mtu: 1420 };
    const evil: Record<string, object> = {
      'hosts/e1': { ...record, subnet: '0.0.0.0/0', published },
      'hosts/e2': { ...record, subnet: '8.8.8.0/24', published },
      'hosts/e3': { ...record, subnet: '10.127.0.0/20', published: { ...published, address: '127.0.0.1' } },
      'hosts/e4': {
        ...record,
        subnet: '10.127.0.0/20',
        published: { ...published, keys: [{ rotation: 0, publicKey: 'secret', port: 51_820 }] },
      },
      'hosts/e5': { ...record, format: 2 },
      'hosts/e6': { ...record, subnet: '10.127.0.0/20', published: { ...published, address: '\u001b]0;evil\u0007' } },
      'hosts/\u001b[2J': { ...record, subnet: '10.127.0.0/20', published },
    };
    await registry.commit(
      [],
      Object.entries(evil).map(([key, value]) => ({ key, value: JSON.stringify(value) })),
    );
    await expect.poll(() => one.problems(), PATIENCE).toEqual(Array.from({ length: 7 }, () => 'peer_unreadable'));
    expect(one.routes()).toEqual([other.subnet()]);
    const shown = `${one.run('hosts')}${one.run('status')}`;
    // oxlint-disable-next-line no-control-regex -- of which there may be none
    expect(shown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(shown).toMatch(/^e5 +lost +- .*a newer Culvert wrote it/m);
    expect(shown).toMatch(/^\\u\{1b\}\[2J +lost +- .*its name is none that a host may have/m);
    for (const name of ['e1', 'e2', 'e3', 'e4', 'e5', 'e6', '\u001b[2J']) one.run('hosts', 'remove', name);
    await expect.poll(() => one.problems(), PATIENCE).toEqual([]);
  });

  it('is there with a registry that another process holds, and hears of the others when that has ended', async () => {
    await Promise.all([one.up(), other.up()]);
    one.run('create', 'a', '--topology', 'netns');
    await one.kill();
    const holder = new DatabaseSync(join(one.place.folder, 'registry.sqlite'));
    holder.exec('BEGIN IMMEDIATE');
    await one.up();
    expect(one.problems()).toEqual(['registry_away']);
    expect(one.json('ls')).toMatchObject([{ id: 'a' }]);
    holder.exec('ROLLBACK');
    holder.close();
    await expect.poll(() => [...one.problems(), ...other.problems()], PATIENCE).toEqual([]);
    await expect.poll(() => one.json('hosts'), PATIENCE).toMatchObject([{ name: 'h1' }, { name: 'h2' }]);
  });

  it('that was purged is free to go on alone, and to join anew', async () => {
    await one.up();
    one.run('down', '--purge');
    await one.up({ alone: true });
    await one.kill();
    await one.up({ alone: true });
    one.run('create', 'a', '--topology', 'netns');
    expect(one.json('ls')).toMatchObject([{ hostAddress: expect.stringMatching(/^10\.11\./) }]);
    one.run('down', '--purge');
    await one.up();
    expect(one.problems()).toEqual([]);
  });

  it('sends nothing in clear that is for another host, where the way to that one is not there', async () => {
    await one.up();
    one.run('create', 'a', '--topology', 'netns', '--egress', 'open');
    expect(() => one.run('exec', 'a', '--', 'ping', '-c', '1', '-W', '1', '10.127.0.1')).toThrow();
    const router = join(one.runDir, 'netns', 'router');
    const list = [`--net=${router}`, 'nft', 'list', 'chain', 'inet', 'culvert', 'forward'];
    const lines = execFileSync('nsenter', list, { encoding: 'utf8' });
    expect(lines).toMatch(/ip daddr 10\.64\.0\.0\/10 oifname "uplink" counter packets 1 /);
  });

  it('is one of two daemons of a machine', async () => {
    await one.up();
    const own = { link: '10.13.0.0/16', bridge: '10.8.65.0/24' };
    const beside = new Daemon({ ...one.place, name: 'b', folder: other.place.folder }, one.registry);
    opened.defer(() => beside.kill());
    await beside.up({ ranges: own, cluster: { port: 51_821 } });
    await expect.poll(() => one.routes(), PATIENCE).toEqual([beside.subnet()]);
    await expect.poll(() => beside.routes(), PATIENCE).toEqual([one.subnet()]);
    expect([...one.problems(), ...beside.problems()]).toEqual([]);
  });

  it('is in no cluster, and says so', async () => {
    await one.up({ alone: true });
    expect(() => one.run('hosts')).toThrow(/this one is in no cluster; start it with --registry/);
  });
});
