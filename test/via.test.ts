import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HOST_ADDRESS, LabHost, OUTSIDE_ADDRESS } from '../lab/host.ts';
import { Pinging } from '../lab/pinging.ts';
import { StandIn } from '../lab/stand-in/stand-in.ts';
import { WireWatch } from '../lab/wire-watch.ts';
import { WireguardServer } from '../lab/wireguard-server.ts';
import { parseIpv4 } from '../src/addr/ipv4.ts';
import type { SandboxResource, StatusResource } from '../src/api/client/client.ts';
import { programOf } from '../src/tunnel/owner/processes.ts';
import { ended, lineOf } from './support/command-line.ts';
import { HostDaemon } from './support/host-daemon.ts';
import { programsIn } from './support/wireguard-seen.ts';

/* Sandboxes that leave by a tunnel and by no other way, of a daemon as people run it. */

/** A public address that is nobody's but the far end's. */
const FAR = '11.7.7.7';
/** All but encrypted packets, and what keeps the link alive. */
const LEAKS = 'not arp and not udp port 51820';

/** Questions of ping(8), and not those of who asks how large packets may be. */
const ECHO = 'icmp[icmptype] == icmp-echo and less 200';

let lab: LabHost;
let server: WireguardServer;
let daemon: HostDaemon;
let files: string;

beforeEach(async () => {
  lab = new LabHost();
  server = new WireguardServer(lab.pin('outside'), join(lab.folder, 'server'), 3);
  lab.run('outside', 'ip', 'address', 'add', `${FAR}/32`, 'dev', 'lo');
  files = join(lab.folder, 'tunnels');
  mkdirSync(files);
  for (const [index, name] of ['nl1', 'nl2', 'nl3'].entries()) give(name, server.file(index, OUTSIDE_ADDRESS));
  const place = { name: 'via', pin: lab.pin('host'), address: parseIpv4(HOST_ADDRESS), folder: lab.folder };
  daemon = new HostDaemon(place, '');
  await up();
});
afterEach(async () => {
  await daemon.kill();
  for (const link of tunLinks()) lab.run(link.at, 'ip', 'link', 'delete', link.name);
  server[Symbol.dispose]();
  lab[Symbol.dispose]();
});

const up = (): Promise<void> => daemon.up({ alone: true, tunnels: files });

function give(name: string, text: string): void {
  writeFileSync(join(files, `${name}.conf`), text, { mode: 0o600 });
}

function create(id: string, ...options: string[]): SandboxResource {
  const [sandbox] = daemon.json('create', id, ...options) as SandboxResource[];
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return sandbox;
}

/** Leases that are not the warm pool's. */
function ownLeases(): unknown[] {
  return (daemon.json('leases') as { state: string }[]).filter(({ state }) => state !== 'warm');
}

/** What `culvert` says where it does not do what it is told. */
function refusal(...parameters: string[]): string {
  const { status, stderr } = spawnSync('nsenter', daemon.command(...parameters), { encoding: 'utf8' });
  expect(status).not.toBe(0);
  return stderr;
}

/** Whether one packet is answered. @param within_s less where none is to be: an answer is not waited for */
function pings(netns: string, address: string, within_s = 10): boolean {
  return spawnSync('nsenter', [`--net=${netns}`, 'ping', '-c', '1', '-W', String(within_s), address]).status === 0;
}

const router = (): string => join(daemon.runDir, 'netns', 'router');

/** Links of programs, which hold the namespace that they were born in. */
function tunLinks(): { readonly at: string; readonly name: string }[] {
  const at = lab.pin('host');
  const links = JSON.parse(lab.run(at, 'ip', '-j', 'link', 'show', 'type', 'tun')) as { ifname?: string }[];
  return links.flatMap(({ ifname }) => (ifname === undefined ? [] : [{ at, name: ifname }]));
}

/** Programs of tunnels that run on the host. */
function programs(): string[] {
  return programsIn(lab.pin('host')).map(({ link }) => link);
}

/** Names of links that tunnels have. */
function viaLinks(netns: string): string[] {
  const links = JSON.parse(lab.run(netns, 'ip', '-j', 'link')) as { ifname: string }[];
  return links.map(({ ifname }) => ifname).filter((name) => name.startsWith('via-'));
}

describe('a sandbox that leaves by a tunnel of its own', { timeout: 360_000 }, () => {
  it('leaves by that alone, under its address, whatever who is root in it does', async () => {
    const sandbox = create('a', '--topology', 'netns', '--via', 'nl1');
    expect(sandbox).toMatchObject({ via: 'nl1', policy: { egress: 'none' } });
    await using wire = await WireWatch.start({ wire: lab.pin('outside') }, { link: 'eth0', filter: LEAKS });
    expect([WireguardServer.inside, FAR].map((to) => pings(sandbox.netns, to))).toEqual([true, true]);
    // the far end reaches it at its one address, and the host at the sandbox's
    expect(pings(lab.pin('outside'), server.accounts[0]?.address ?? '')).toBe(true);
    expect(pings(lab.pin('host'), sandbox.hostAddress)).toBe(true);
    lab.run(sandbox.netns, 'ip', 'link', 'set', 'via-1', 'down');
    lab.run(sandbox.netns, 'ip', 'route', 'replace', 'default', 'via', sandbox.gateway, 'dev', 'eth0');
    expect([FAR, OUTSIDE_ADDRESS, HOST_ADDRESS].map((to) => pings(sandbox.netns, to, 2))).toEqual([
      false,
      false,
      false,
    ]);
    expect((await wire.seen()).map(({ line }) => line)).toEqual([]);
    daemon.run('rm', 'a');
    await expect.poll(ownLeases).toEqual([]);
    expect(daemon.problems()).toEqual([]);
  });

  it('is a virtual machine or on the bridge as well', async () => {
    const vm = create('vm', '--topology', 'microvm', '--via', 'nl1');
    const bridged = create('br', '--topology', 'bridge', '--via', 'nl2');
    using guest = await StandIn.start(lab, 'guest', { ...vm, tap: vm.tap ?? '' });
    await using wire = await WireWatch.start({ wire: lab.pin('outside') }, { link: 'eth0', filter: LEAKS });
    expect(pings(guest.netns, FAR)).toBe(true);
    expect(pings(lab.pin('host'), vm.hostAddress)).toBe(true);
    expect(pings(bridged.netns, FAR)).toBe(true);
    expect(pings(lab.pin('host'), bridged.hostAddress)).toBe(true);
    daemon.signal('SIGSTOP');
    lab.run(vm.netns, 'ip', 'link', 'delete', 'via-1');
    expect(pings(guest.netns, FAR, 2)).toBe(false);
    daemon.signal('SIGCONT');
    // its tunnel comes back by itself
    await expect.poll(() => pings(guest.netns, FAR)).toBe(true);
    expect((await wire.seen()).map(({ line }) => line)).toEqual([]);
    expect(daemon.json('reconcile', '--dry-run')).toMatchObject({ plan: [] });
  });

  it('has it through the death of the daemon and of the program, and none is left of one that was removed', async () => {
    const sandbox = create('a', '--topology', 'netns', '--via', 'nl1');
    await daemon.kill();
    expect(pings(sandbox.netns, FAR)).toBe(true);
    const linkNumber = (): string => lab.run(sandbox.netns, 'ip', '-o', 'link', 'show', 'via-1').split(':')[0] ?? '';
    const number = linkNumber();
    await up();
    expect(pings(sandbox.netns, FAR)).toBe(true);
    const { pid } = daemon.json('status') as StatusResource;
    const alias = (): string => lab.run(sandbox.netns, 'ip', 'link', 'show', 'via-1');
    await expect.poll(alias).toContain(`pid ${pid} `);
    // it was adopted
    expect(linkNumber()).toBe(number);
    expect(daemon.json('reconcile', '--dry-run')).toMatchObject({ plan: [] });
    expect(daemon.problems()).toEqual([]);
    daemon.run('rm', 'a');
    await expect.poll(ownLeases).toEqual([]);
    const again = create('a', '--topology', 'netns', '--via', 'nl1');
    expect(pings(again.netns, FAR)).toBe(true);
  });

  it('is there whole, or not at all, whenever the daemon is killed, and stays where the daemon is stopped', async () => {
    for (const killedAfterMs of [60, 250, 600, 1200]) {
      const creating = spawn('nsenter', daemon.command('create', 'a', '--topology', 'netns', '--via', 'nl1'));
      const created = ended(creating);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pause(killedAfterMs);
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await daemon.kill();
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await created;
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await up();
      // whatever was done is taken over, and what was not is done
      const sandbox = create('a', '--topology', 'netns', '--via', 'nl1');
      expect(pings(sandbox.netns, FAR), `killed after ${killedAfterMs} ms`).toBe(true);
      const removed = ended(spawn('nsenter', daemon.command('rm', 'a')));
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await pause(killedAfterMs);
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await daemon.kill();
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await removed;
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await up();
      if ((daemon.json('ls') as unknown[]).length > 0) daemon.run('rm', 'a');
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await expect.poll(ownLeases).toEqual([]);
    }
    const sandbox = create('a', '--topology', 'netns', '--via', 'nl1');
    const member = create('m', '--topology', 'netns', '--group', 'web', '--via', 'nl2');
    daemon.run('down');
    expect([sandbox, member].map(({ netns }) => pings(netns, FAR))).toEqual([true, true]);
    await up();
    expect([sandbox, member].map(({ netns }) => pings(netns, FAR))).toEqual([true, true]);
    daemon.run('down', '--purge');
    await expect.poll(programs).toEqual([]);
    expect(tunLinks()).toEqual([]);
  });

  it('takes its tunnel from who stays in it, and from where it was moved to', async () => {
    const sandbox = create('a', '--topology', 'netns', '--via', 'nl1');
    const moved = create('b', '--topology', 'netns', '--via', 'nl2');
    const stays = lab.spawn(sandbox.netns, 'sleep', '1000');
    const nested = lab.spawn(moved.netns, 'unshare', '--net', 'sleep', '1000');
    const at = (netns: string): number => statSync(netns).ino;
    const run = (): string[] => [stays, nested].map(({ pid }) => programOf(pid ?? 0));
    await expect.poll(run).toEqual(['sleep', 'sleep']);
    expect(at(`/proc/${nested.pid}/ns/net`)).not.toBe(at(moved.netns));
    lab.run(moved.netns, 'ip', 'link', 'set', 'via-2', 'netns', String(nested.pid));
    daemon.run('rm', 'a', 'b');
    await expect.poll(programs).toEqual([]);
    expect([stays, nested].map(({ pid }) => viaLinks(`/proc/${pid}/ns/net`))).toEqual([[], []]);
    for (const child of [stays, nested]) child.kill('SIGKILL');
  });

  it('keeps its tunnel where the next daemon is stopped before it has taken that over', async () => {
    const sandbox = create('a', '--topology', 'netns', '--via', 'nl1');
    const before = lab.run(sandbox.netns, 'ip', '-o', 'link', 'show', 'via-1').split(':')[0];
    await daemon.kill();
    // nobody answers whom it asks
    lab.run('outside', 'ip', 'link', 'set', 'eth0', 'down');
    await up();
    await pause(1500);
    daemon.run('down');
    lab.run('outside', 'ip', 'link', 'set', 'eth0', 'up');
    expect(lab.run(sandbox.netns, 'ip', '-o', 'link', 'show', 'via-1').split(':')[0]).toBe(before);
    expect(programs()).toEqual(['via-1']);
    await up();
    await expect.poll(() => pings(sandbox.netns, FAR)).toBe(true);
  });

  it('is not made where its tunnel cannot be, and says why', () => {
    expect(refusal('create', 'a', '--topology', 'netns', '--via', 'none')).toMatch(/this host has no .*\/none\.conf/);
    expect(refusal('create', 'a', '--topology', 'netns', '--via', '../x')).toMatch(/Cannot use "\.\.\/x" as a tunnel/);
    give('bad', '[Interface]\nPrivateKey = x\n');
    expect(refusal('create', 'a', '--topology', 'netns', '--via', 'bad')).toMatch(/bad\.conf: .*line 2/);
    writeFileSync(join(files, 'open.conf'), server.file(2, OUTSIDE_ADDRESS), { mode: 0o644 });
    expect(refusal('create', 'a', '--topology', 'netns', '--via', 'open')).toMatch(/others may read it.*chmod 600/);
    expect(refusal('create', 'a', '--topology', 'netns', '--via', 'nl1', '--egress', 'open')).toMatch(
      /Cannot have a policy/,
    );
    give('away', server.file(2, '192.0.2.99'));
    expect(refusal('create', 'a', '--topology', 'netns', '--via', 'away')).toMatch(/192\.0\.2\.99:51820/);
    expect(daemon.json('ls')).toEqual([]);
    create('b', '--topology', 'netns', '--via', 'nl1');
    expect(refusal('create', 'a', '--topology', 'netns', '--via', 'nl1')).toMatch(/it is that of another sandbox/);
    expect(refusal('set', 'b', '--egress', 'open')).toMatch(/Cannot have a policy/);
    expect(refusal('set', 'b', '--group', 'web')).toMatch(/leaves by a tunnel/);
  });
});

describe('the far end of a tunnel', { timeout: 360_000 }, () => {
  /** By the tunnel of the first account, under any address. */
  function send(from: string, to: string): void {
    server.lead(0, [to]);
    const isOwn = from === WireguardServer.inside;
    if (!isOwn) lab.run('outside', 'ip', 'address', 'add', `${from}/32`, 'dev', 'lo');
    spawnSync('nsenter', [`--net=${lab.pin('outside')}`, 'ping', '-c', '1', '-W', '1', '-I', from, to]);
    if (!isOwn) lab.run('outside', 'ip', 'address', 'delete', `${from}/32`, 'dev', 'lo');
  }

  it('reaches nobody in a group by the address that the host knows, whoever it says that it is', async () => {
    const group = ['--topology', 'netns', '--group', 'web', '--via', 'nl1'];
    const [a, b] = [create('a', ...group), create('b', ...group)];
    await using seen = await WireWatch.start({ wire: a.netns }, { link: 'eth0', filter: 'icmp' });
    await using passed = await WireWatch.start({ wire: router() }, { link: 'via-1', filter: ECHO });
    for (const from of [b.hostAddress, WireguardServer.inside]) send(from, a.hostAddress);
    expect((await passed.seen(2)).map(({ line }) => line)).toHaveLength(2);
    expect((await seen.seen()).map(({ line }) => line)).toEqual([]);
    expect(pings(a.netns, FAR)).toBe(true);
    // as it asks how large packets may be
    lab.run(router(), 'ping', '-c', '1', '-W', '2', '-I', 'via-1', WireguardServer.inside);
  });

  it('is reached by nobody who is not of the group, whatever network it is in', async () => {
    give('nl1', server.file(0, OUTSIDE_ADDRESS).replace('/32', '/24'));
    create('a', '--topology', 'netns', '--group', 'web', '--via', 'nl1');
    const other = create('c', '--topology', 'netns', '--egress', 'none', '--allow', '10.9.0.0/24');
    await using seen = await WireWatch.start({ wire: lab.pin('outside') }, { link: 'wgs', filter: ECHO });
    // by its own way out, as it may
    expect(pings(other.netns, WireguardServer.inside)).toBe(true);
    lab.run(router(), 'ip', 'route', 'add', WireguardServer.inside, 'dev', 'via-1');
    expect(pings(other.netns, WireguardServer.inside, 2)).toBe(false);
    expect((await seen.seen()).map(({ line }) => line)).toEqual([]);
  });

  it('reaches no virtual machine, nor anybody in its name', async () => {
    const vm = create('vm', '--topology', 'microvm', '--via', 'nl1');
    using guest = await StandIn.start(lab, 'guest', { ...vm, tap: vm.tap ?? '' });
    await using seen = await WireWatch.start({ wire: guest.netns }, { link: 'any', filter: 'icmp' });
    await using passed = await WireWatch.start({ wire: vm.netns }, { link: 'via-1', filter: ECHO });
    await using routed = await WireWatch.start({ wire: router() }, { link: `s${vm.slot}`, filter: 'icmp' });
    send(WireguardServer.inside, vm.guestAddress);
    send(vm.guestAddress, '10.11.0.0');
    expect((await passed.seen(2)).map(({ line }) => line)).toHaveLength(2);
    expect((await seen.seen()).map(({ line }) => line)).toEqual([]);
    expect((await routed.seen()).map(({ line }) => line)).toEqual([]);
    expect(pings(guest.netns, FAR)).toBe(true);
  });
});

describe('a group that leaves by one tunnel', { timeout: 360_000 }, () => {
  const group = ['--group', 'web', '--via', 'nl1'];

  it('leaves by that alone, all of it under one address, and its members reach each other', async () => {
    const [a, b] = ['a', 'b'].map((id) => create(id, '--topology', 'netns', ...group)) as [
      SandboxResource,
      SandboxResource,
    ];
    const vm = create('vm', '--topology', 'microvm', ...group);
    const other = create('c', '--topology', 'netns', '--egress', 'open');
    using guest = await StandIn.start(lab, 'guest', { ...vm, tap: vm.tap ?? '' });
    await using clear = await WireWatch.start({ wire: lab.pin('outside') }, { link: 'eth0', filter: LEAKS });
    await using inside = await WireWatch.start({ wire: lab.pin('outside') }, { link: 'wgs', filter: 'icmp' });
    for (const netns of [a.netns, b.netns, guest.netns]) expect(pings(netns, FAR)).toBe(true);
    const sources = (await inside.seen(1)).map(({ line }) => / IP (\S+) > /.exec(line)?.[1]);
    expect(new Set(sources)).toEqual(new Set([server.accounts[0]?.address]));
    expect(pings(a.netns, b.hostAddress)).toBe(true);
    expect(pings(lab.pin('host'), a.hostAddress)).toBe(true);
    expect((await clear.seen()).map(({ line }) => line)).toEqual([]);
    // who is not in it leaves as ever
    expect(pings(other.netns, FAR)).toBe(true);
    expect((await clear.seen(1)).length).toBeGreaterThan(0);
    expect(refusal('create', 'd', '--topology', 'netns', '--group', 'web')).toMatch(/leave by nl1/);
    expect(refusal('create', 'd', '--topology', 'netns', '--group', 'db', '--via', 'nl1')).toMatch(/that of group web/);
    expect(daemon.json('reconcile', '--dry-run')).toMatchObject({ plan: [] });
    daemon.run('rm', 'a', 'b');
    expect(viaLinks(router())).toEqual(['via-1']);
    daemon.run('rm', 'vm');
    await expect.poll(() => viaLinks(router())).toEqual([]);
    expect(lab.run(router(), 'ip', 'rule')).not.toContain('20000');
    // the link goes first
    const tables = (): string => lab.run(router(), 'nft', 'list', 'tables');
    await expect.poll(tables, { timeout: 10_000 }).not.toContain('culvert_tunnel');
  });

  it('takes in nobody while its peer is silent, and says so at once', async () => {
    const a = create('a', '--topology', 'netns', ...group);
    const drops = (hook: string): string =>
      `add chain inet x ${hook} { type filter hook ${hook} priority 0; policy drop; }`;
    const silence = `add table inet x; ${drops('input')}; ${drops('output')}`;
    lab.run('outside', 'nft', silence);
    using talk = new Pinging(a.netns, FAR);
    await expect.poll(() => daemon.problems()).toEqual(['via_down']);
    for (const id of ['a', 'b']) {
      expect(refusal('create', id, '--topology', 'netns', ...group)).toMatch(/nl1: its peer does not answer/);
    }
    expect((daemon.json('ls') as SandboxResource[]).map(({ id }) => id)).toEqual(['a']);
    lab.run('outside', 'nft', 'delete table inet x');
    await talk.replies(1);
    await expect.poll(() => daemon.problems()).toEqual([]);
    const b = create('b', '--topology', 'netns', ...group);
    expect(pings(b.netns, FAR)).toBe(true);
  });

  it('does not leave at all while its tunnel is away, rules or no rules', async () => {
    const a = create('a', '--topology', 'netns', ...group, '--egress', 'open');
    await using clear = await WireWatch.start({ wire: lab.pin('outside') }, { link: 'eth0', filter: LEAKS });
    const talk = lab.spawn(a.netns, 'ping', '-i', '0.2', FAR);
    await daemon.kill();
    lab.run(router(), 'ip', 'link', 'delete', 'via-1');
    expect(pings(a.netns, FAR, 2)).toBe(false);
    for (const priority of ['20000', '20002', '30000']) lab.run(router(), 'ip', 'rule', 'delete', 'priority', priority);
    expect(pings(a.netns, FAR, 2)).toBe(false);
    expect((await clear.seen()).map(({ line }) => line)).toEqual([]);
    await up();
    await expect.poll(() => pings(a.netns, FAR)).toBe(true);
    // so does a rule alone, by itself
    const rules = (): string => lab.run(router(), 'ip', 'rule');
    const all = rules();
    daemon.signal('SIGSTOP');
    lab.run(router(), 'ip', 'rule', 'delete', 'priority', '20002');
    expect(pings(a.netns, FAR, 2)).toBe(false);
    daemon.signal('SIGCONT');
    await expect.poll(rules).toBe(all);
    expect(pings(a.netns, FAR)).toBe(true);
    // all that this daemon has told
    const events = spawn('nsenter', daemon.command('events', '--after', 'former-0'));
    await lineOf(events, /host\.repaired .*ip -n router rule add priority 20002 /);
    events.kill();
    expect((await clear.seen()).map(({ line }) => line)).toEqual([]);
    talk.kill('SIGKILL');
  });
});
