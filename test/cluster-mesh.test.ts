import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Endpoint } from '../lab/endpoint/endpoint.ts';
import { ECHO_PORT } from '../lab/endpoint/protocol.ts';
import { LineProcess } from '../lab/line-process.ts';
import { Queues } from '../lab/load/queues.ts';
import { Underlay } from '../lab/underlay.ts';
import type { EpochResource, HostResource, MeshResource, SandboxResource } from '../src/api/client/client.ts';
import { HostDaemon } from './support/host-daemon.ts';
import { SINK, SOURCE } from './support/talk.ts';

/* Hosts that change how they send to each other, while their sandboxes talk. */

const PATIENCE = { timeout: 90_000, interval: 100 };

let opened: AsyncDisposableStack;
let underlay: Underlay;
let daemons: HostDaemon[];

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  underlay = opened.use(new Underlay(3));
  const [first] = underlay.hosts;
  const registry = `file:${join(first?.folder ?? '', 'registry.sqlite')}`;
  daemons = underlay.hosts.map((place) => new HostDaemon(place, registry));
  opened.defer(async () => void (await Promise.all(daemons.map((daemon) => daemon.kill()))));
  await Promise.all(daemons.map((daemon) => daemon.up()));
});
afterEach(() => opened.disposeAsync());

function create(daemon: HostDaemon, id: string): SandboxResource {
  const [sandbox] = daemon.json('create', id, '--topology', 'netns', '--group', 'web') as SandboxResource[];
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return sandbox;
}

const mesh = (daemon: HostDaemon): MeshResource => daemon.json('mesh', 'status') as MeshResource;
const change = (daemon: HostDaemon, ...words: string[]): EpochResource =>
  daemon.json('mesh', ...words, '--wait', '--timeout', '90') as EpochResource;

/** Packets in clear between hosts, as whoever is on the wire sees them. */
function inClear(body: () => void): number {
  const pins = underlay.hosts.map(({ pin }) => pin);
  const capture = pins.map((pin) => {
    const rule = 'add table inet spy; add chain inet spy out { type filter hook postrouting priority 500; }';
    underlay.run(pin, 'nft', `${rule}; add rule inet spy out oifname "eth0" udp dport 51830 counter`);
    underlay.run(pin, 'nft', 'add rule inet spy out oifname "eth0" ip daddr 10.64.0.0/10 counter');
    return pin;
  });
  body();
  return capture
    .map((pin) => {
      const text = underlay.run(pin, 'nft', 'list', 'table', 'inet', 'spy');
      underlay.run(pin, 'nft', 'delete', 'table', 'inet', 'spy');
      return [...text.matchAll(/counter packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
    })
    .reduce((sum, count) => sum + count, 0);
}

describe('encryption', { timeout: 600_000 }, () => {
  it('is switched off and on without a loss, and nothing goes in clear once it is on', async () => {
    const [a, b, c] = daemons.map((daemon, index) => create(daemon, `s${index}`)) as [
      SandboxResource,
      SandboxResource,
      SandboxResource,
    ];
    const ping = (): boolean =>
      spawnSync('nsenter', [`--net=${a.netns}`, 'ping', '-c', '1', '-W', '10', '-M', 'do', '-s', '1392', c.hostAddress])
        .status === 0;
    await expect.poll(ping, PATIENCE).toBe(true);
    const [h1, h2] = daemons as [HostDaemon, HostDaemon, HostDaemon];
    const endpoints = await Promise.all([a, b, c].map(({ id, netns }) => Endpoint.start(id, netns)));
    for (const endpoint of endpoints) opened.use(endpoint);
    const [ea, eb] = endpoints as [Endpoint, Endpoint, Endpoint];
    await expect.poll(() => mesh(h1).peers.every(({ pathMtu }) => pathMtu === 1420), PATIENCE).toBe(true);
    await ea.stream(b.hostAddress, ECHO_PORT, 2);
    await eb.stream(c.hostAddress, ECHO_PORT, 2);
    for (const [round, encrypts] of [false, true, false, true].entries()) {
      const epoch = change(round % 2 === 0 ? h1 : h2, 'encrypt', encrypts ? 'on' : 'off');
      expect(epoch).toMatchObject({ number: round + 1, phase: 'done', encrypts });
      for (const { peers } of daemons.map(mesh)) {
        const word = encrypts ? 'encrypted' : 'clear';
        expect(peers.map(({ sends, hears, acceptsClear }) => [sends, hears, acceptsClear])).toEqual([
          [word, word, !encrypts],
          [word, word, !encrypts],
        ]);
      }
      expect(ping()).toBe(true);
      const clear = inClear(() => expect(ping()).toBe(true));
      if (encrypts) expect(clear).toBe(0);
      else expect(clear).toBeGreaterThan(1);
      // oxlint-disable-next-line no-await-in-loop -- some packets that way
      await pause(300);
    }
    for (const report of [await ea.stopStream(), await eb.stopStream()]) {
      expect(report).toMatchObject({ lost: [], overflows: 0 });
      expect(report.answered).toBe(report.sent);
    }
    expect(daemons.flatMap((daemon) => daemon.problems())).toEqual([]);
  });
});

describe('keys', { timeout: 600_000 }, () => {
  it('are changed without a loss, and the old ones are gone', async () => {
    const [a, b] = daemons.map((daemon, index) => create(daemon, `s${index}`)) as [SandboxResource, SandboxResource];
    const [h1, h2] = daemons as [HostDaemon, HostDaemon, HostDaemon];
    const [ea, eb] = await Promise.all([a, b].map(({ id, netns }) => Endpoint.start(id, netns)));
    if (ea === undefined || eb === undefined) throw new Error('There are two');
    opened.use(ea);
    opened.use(eb);
    await expect
      .poll(
        async () => (await ea.ask({ to: b.hostAddress, text: 'up', count: 1, waitMs: 200 })).echoes.length,
        PATIENCE,
      )
      .toBe(1);
    const keysOf = (daemon: HostDaemon): string[] =>
      readdirSync(daemon.stateDir).filter((name) => name.startsWith('wireguard'));
    const links = (daemon: HostDaemon): string[] =>
      underlay
        .run(join(daemon.runDir, 'netns', 'router'), 'ip', '-o', 'link')
        .split('\n')
        .flatMap((line) => /\bw[abcd]-\w+/.exec(line)?.[0] ?? []);
    const publicKeys = (): (string | undefined)[] =>
      (h1.json('hosts') as HostResource[]).map(({ publicKey }) => publicKey);
    const before = publicKeys();
    await ea.stream(b.hostAddress, ECHO_PORT, 2);
    for (const rotation of [1, 2]) {
      expect(change(h2, 'rotate')).toMatchObject({ rotation, phase: 'done', encrypts: true });
      for (const daemon of daemons) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await expect.poll(() => keysOf(daemon), PATIENCE).toEqual([`wireguard-${rotation}.key`]);
        expect(links(daemon)).toEqual([`w${rotation === 1 ? 'b' : 'a'}-${daemon.place.name}`]);
      }
      expect(new Set([...before, ...publicKeys()]).size).toBe(6);
      // oxlint-disable-next-line no-await-in-loop -- some packets that way
      await pause(300);
    }
    const report = await ea.stopStream();
    expect(report).toMatchObject({ lost: [], overflows: 0 });
    expect(daemons.flatMap((daemon) => daemon.problems())).toEqual([]);
    // who starts anew has the keys of now
    await h1.kill();
    await h1.up();
    expect(h1.run('reconcile', '--dry-run')).toBe('');
    expect((await ea.ask({ to: b.hostAddress, text: 'up', count: 3, waitMs: 10_000 })).echoes).toHaveLength(3);
  });
});

describe('keys that are old', { timeout: 600_000 }, () => {
  const EVERY_MS = 10_000;

  it('are changed by one of all hosts, and no more often than they are to be', async () => {
    const [a, b] = daemons.map((daemon, index) => create(daemon, `s${index}`)) as [SandboxResource, SandboxResource];
    const [h1] = daemons as [HostDaemon];
    await Promise.all(daemons.map((daemon) => daemon.kill()));
    await Promise.all(daemons.map((daemon) => daemon.up({ cluster: { rotateKeysEveryMs: EVERY_MS } })));
    const [ea] = await Promise.all([a, b].map(({ id, netns }) => Endpoint.start(id, netns)));
    if (ea === undefined) throw new Error('There are two');
    opened.use(ea);
    await expect
      .poll(
        async () => (await ea.ask({ to: b.hostAddress, text: 'up', count: 1, waitMs: 200 })).echoes.length,
        PATIENCE,
      )
      .toBe(1);
    await ea.stream(b.hostAddress, ECHO_PORT, 4);
    /** The one that is done, and of a later rotation than that: by the time it is looked there may be another. */
    const laterThan = async (rotation: number): Promise<EpochResource> => {
      let epoch = mesh(h1).epoch;
      const look = (): boolean => {
        ({ epoch } = mesh(h1));
        return epoch.rotation > rotation && epoch.phase === 'done';
      };
      await expect.poll(look, PATIENCE).toBe(true);
      return epoch;
    };
    const first = await laterThan(0);
    const second = await laterThan(first.rotation);
    expect([first, second].map(({ number }) => number)).toEqual([first.rotation, first.rotation + 1]);
    expect(second.rotatedWallMs - first.rotatedWallMs).toBeGreaterThanOrEqual(EVERY_MS);
    expect(await ea.stopStream()).toMatchObject({ lost: [], overflows: 0 });
    expect(daemons.flatMap((daemon) => daemon.problems())).toEqual([]);
  });
});

describe('a change that is interrupted', { timeout: 600_000 }, () => {
  it('goes on where a daemon is killed, and names who lags', async () => {
    const [a, b, c] = daemons.map((daemon, index) => create(daemon, `s${index}`)) as [
      SandboxResource,
      SandboxResource,
      SandboxResource,
    ];
    const [h1, h2, h3] = daemons as [HostDaemon, HostDaemon, HostDaemon];
    const endpoints = await Promise.all([a, b, c].map(({ id, netns }) => Endpoint.start(id, netns)));
    for (const endpoint of endpoints) opened.use(endpoint);
    const [ea, , ec] = endpoints as [Endpoint, Endpoint, Endpoint];
    await expect.poll(() => mesh(h1).peers.every(({ pathMtu }) => pathMtu === 1420), PATIENCE).toBe(true);
    await expect
      .poll(
        async () => (await ea.ask({ to: c.hostAddress, text: 'up', count: 1, waitMs: 200 })).echoes.length,
        PATIENCE,
      )
      .toBe(1);
    const ends = [a, b, c].map((sandbox, index) => {
      const { place, runDir } = daemons[index] as HostDaemon;
      return { sandbox, host: place.name, root: place.pin, router: join(runDir, 'netns', 'router') };
    });
    const queues = opened.use(new Queues(ends));
    await ea.stream(c.hostAddress, ECHO_PORT, 4);
    await ec.stream(b.hostAddress, ECHO_PORT, 4);
    for (const [round, victim] of [h3, h1, h2, h3].entries()) {
      h1.run('mesh', 'encrypt', round % 2 === 0 ? 'off' : 'on');
      // oxlint-disable-next-line no-await-in-loop -- at some moment of it
      await pause(round * 170);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await victim.kill();
      // oxlint-disable-next-line no-await-in-loop -- others notice, or not yet
      await pause(round % 2 === 0 ? 0 : 700);
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await victim.up();
      const isThere = (): unknown =>
        daemons.map((daemon) => {
          const { epoch, peers } = mesh(daemon);
          return [epoch.number, epoch.phase, ...peers.map(({ sends }) => sends)].join(' ');
        });
      const word = round % 2 === 0 ? 'clear' : 'encrypted';
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await expect.poll(isThere, PATIENCE).toEqual(daemons.map(() => `${round + 1} done ${word} ${word}`));
    }
    const reports = [await ea.stopStream(), await ec.stopStream()];
    const lost = reports.reduce((sum, { sent, answered }) => sum + sent - answered, 0);
    // what a program had no processor to read in time is nobody's loss, and the kernel counts it
    const dropped = [...queues.dropped.values()].reduce((sum, count) => sum + count, 0);
    expect(Math.max(0, lost - dropped), JSON.stringify({ reports, queues: [...queues.dropped] })).toBe(0);
    expect(daemons.flatMap((daemon) => daemon.problems())).toEqual([]);
  });
});

describe('a path that becomes narrow, with no word of it', { timeout: 600_000 }, () => {
  const MIB = 1024 * 1024;
  type Route = { readonly dst: string; readonly metrics?: readonly { readonly mtu?: number }[] };
  const mtus = (daemon: HostDaemon): Map<string, number | undefined> => {
    const text = underlay.run(join(daemon.runDir, 'netns', 'router'), 'ip', '-j', 'route', 'show');
    const routes = (JSON.parse(text) as Route[]).filter(({ dst }) => dst.startsWith('10.64.') || dst.startsWith('10.'));
    return new Map(routes.map(({ dst, metrics }) => [dst, metrics?.[0]?.mtu]));
  };

  it('carries what is sent, and no other path is another', async () => {
    const [a, b, c] = daemons.map((daemon, index) => create(daemon, `s${index}`)) as [
      SandboxResource,
      SandboxResource,
      SandboxResource,
    ];
    const [h1, h2, h3] = daemons as [HostDaemon, HostDaemon, HostDaemon];
    await expect.poll(() => mesh(h1).peers.every(({ pathMtu }) => pathMtu === 1420), PATIENCE).toBe(true);
    using sink = new LineProcess(c.netns, process.execPath, ['-e', SINK]);
    const port = await sink.line();
    const open = (): LineProcess =>
      opened.use(new LineProcess(a.netns, process.execPath, ['-e', SOURCE, c.hostAddress, port]));
    const before = open();
    expect(await before.line()).toBe('connected');
    expect(await before.ask(String(MIB))).toBe('written');
    // a real link has packets and no bundles of them, whose size says nothing
    for (const { pin } of underlay.hosts) underlay.run(pin, 'ip', 'link', 'set', 'eth0', 'gso_max_segs', '1');
    // what is larger is lost on the way to h3, outside of all tunnels; nothing says so
    const narrow = 'add table bridge narrow; add chain bridge narrow c { type filter hook forward priority 0; }';
    underlay.onWire('nft', `${narrow}; add rule bridge narrow c oifname "h3" meta length > 1340 drop`);
    expect(await before.ask(String(MIB))).toBe('written');
    expect(await before.ask('end')).toBe('ended');
    expect(await sink.line()).toBe(String(2 * MIB));
    const narrowed = (): (number | undefined)[] => [mtus(h1).get(h3.subnet()), mtus(h1).get(h2.subnet())];
    await expect.poll(() => narrowed()[0], PATIENCE).toBeGreaterThan(1264);
    expect(narrowed()[0]).toBeLessThanOrEqual(1280);
    expect(narrowed()[1]).toBeUndefined();
    // the way back is as wide as it was
    expect(mtus(h3).get(h1.subnet())).toBeUndefined();
    expect(mesh(h1).peers.map(({ name, pathMtuBack }) => [name, pathMtuBack])).toEqual([
      ['h2', 1420],
      ['h3', 1420],
    ]);
    // who begins now knows at once
    const after = open();
    expect(await after.line()).toBe('connected');
    expect(await after.ask(String(MIB))).toBe('written');
    expect(await after.ask('end')).toBe('ended');
    expect(await sink.line()).toBe(String(MIB));
    const whole = ['ping', '-c', '1', '-W', '10', '-M', 'do', '-s', '1392', b.hostAddress];
    expect(spawnSync('nsenter', [`--net=${a.netns}`, ...whole]).status).toBe(0);
    // and by the way in clear
    change(h2, 'encrypt', 'off');
    const once = open();
    expect(await once.line()).toBe('connected');
    expect(await once.ask(String(MIB))).toBe('written');
    expect(await once.ask('end')).toBe('ended');
    expect(await sink.line()).toBe(String(MIB));
  });
});
