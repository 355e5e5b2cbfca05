import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Endpoint } from '../lab/endpoint/endpoint.ts';
import { ECHO_PORT } from '../lab/endpoint/protocol.ts';
import { Underlay } from '../lab/underlay.ts';
import { WireWatch } from '../lab/wire-watch.ts';
import {
  CulvertClient,
  type EpochResource,
  type MeshResource,
  type SandboxResource,
} from '../src/api/client/client.ts';
import { HostDaemon } from './support/host-daemon.ts';
import { programsIn, wgShow } from './support/wireguard-seen.ts';

/*
 * Two hosts whose ways to each other break, while their sandboxes talk:
 *
 *     h1: a in web ── wa-h1 ══ eth0 ── wire ── eth0 ══ wa-h2 ── h2: b in web
 */

const PATIENCE = { timeout: 90_000, interval: 100 };

let opened: AsyncDisposableStack;
let underlay: Underlay;
let h1: HostDaemon;
let h2: HostDaemon;
let a: SandboxResource;
let b: SandboxResource;
let near: Endpoint;
let far: Endpoint;

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  underlay = opened.use(new Underlay(2));
  const [one, two] = underlay.hosts;
  if (one === undefined || two === undefined) throw new Error('There are two');
  const registry = `file:${join(one.folder, 'registry.sqlite')}`;
  [h1, h2] = [new HostDaemon(one, registry), new HostDaemon(two, registry)];
  opened.defer(async () => void (await Promise.all([h1.kill(), h2.kill()])));
  await Promise.all([h1.up(), h2.up()]);
  [a, b] = [create(h1, 'a'), create(h2, 'b')];
  [near, far] = [opened.use(await Endpoint.start('a', a.netns)), opened.use(await Endpoint.start('b', b.netns))];
  await expect.poll(answers, PATIENCE).toBe(true);
  await expect.poll(() => both(({ pathMtu }) => pathMtu), PATIENCE).toEqual([1420, 1420]);
});
afterEach(() => opened.disposeAsync());

function create(daemon: HostDaemon, id: string): SandboxResource {
  const [sandbox] = daemon.json('create', id, '--topology', 'netns', '--group', 'web') as SandboxResource[];
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return sandbox;
}

async function answers(): Promise<boolean> {
  const question = { to: b.hostAddress, text: 'up', count: 1, waitMs: 300 };
  return (await near.ask(question)).echoes.length === 1;
}

type Peer = MeshResource['peers'][number];

const mesh = (daemon: HostDaemon): MeshResource => daemon.json('mesh', 'status') as MeshResource;
const programsOf = ({ place }: HostDaemon): ReturnType<typeof programsIn> =>
  programsIn(place.pin).toSorted((one, other) => one.link.localeCompare(other.link));
const both = <T>(of: (peer: Peer) => T): T[] => [h1, h2].flatMap((daemon) => mesh(daemon).peers.map(of));
const sends = (): (string | undefined)[] => both((peer) => peer.sends);
const change = (daemon: HostDaemon, ...words: string[]): EpochResource =>
  daemon.json('mesh', ...words, '--wait', '--timeout', '90') as EpochResource;

function ping(within_s = 10): boolean {
  const command = ['ping', '-c', '1', '-W', String(within_s), '-M', 'do', '-s', '1392', b.hostAddress];
  return spawnSync('nsenter', [`--net=${a.netns}`, ...command]).status === 0;
}

describe('a host that is told the same again and again', { timeout: 240_000 }, () => {
  it('writes nothing and loses nothing', async () => {
    using client = new CulvertClient({ socketPath: join(h1.runDir, 'api.sock') });
    const before = [h1, h2].map((daemon) => wgShow(daemon, `wa-${daemon.place.name}`));
    await near.stream(b.hostAddress, ECHO_PORT, 1);
    for (let times = 0; times < 100; times++) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      expect(await client.reconcile({ dryRun: false })).toEqual({ plan: [], applied: true });
    }
    expect(await near.stopStream()).toMatchObject({ lost: [], overflows: 0 });
    expect([h1, h2].map((daemon) => wgShow(daemon, `wa-${daemon.place.name}`))).toEqual(before);
  });
});

describe('an encrypted way that dies', { timeout: 400_000 }, () => {
  const cut = (): string =>
    underlay.onWire(
      'nft',
      'add table bridge cut; add chain bridge cut c { type filter hook forward priority 0; }; add rule bridge cut c udp dport 51820 drop',
    );
  const mend = (): string => underlay.onWire('nft', 'delete table bridge cut');

  it('is waited for, or packets go in clear until it is back: as a person has said', async () => {
    await using wire = await WireWatch.start(underlay);
    cut();
    await expect.poll(() => h1.problems(), PATIENCE).toContain('peer_unreachable');
    await expect.poll(() => h2.problems(), PATIENCE).toContain('peer_unreachable');
    expect(ping(1)).toBe(false);
    mend();
    await expect.poll(() => ping(), PATIENCE).toBe(true);
    expect(sends()).toEqual(['encrypted', 'encrypted']);
    expect(await wire.seen()).toEqual([]);

    expect(change(h1, 'when-down', 'clear')).toMatchObject({ whenDown: 'clear', phase: 'done', encrypts: true });
    expect(sends()).toEqual(['encrypted', 'encrypted']);
    expect(h1.run('mesh', 'status')).toMatch(/to one that is down +in clear/);
    cut();
    await expect.poll(sends, PATIENCE).toEqual(['clear', 'clear']);
    await expect.poll(() => ping(), PATIENCE).toBe(true);
    expect(h1.run('mesh', 'status')).toMatch(/^h2 +alive .* clear +clear /m);
    expect((await wire.seen(1)).some(({ line }) => line.includes(`> ${b.hostAddress}: ICMP echo request`))).toBe(true);
    await near.stream(b.hostAddress, ECHO_PORT, 4);
    await far.stream(a.hostAddress, ECHO_PORT, 4);
    mend();
    await expect.poll(sends, PATIENCE).toEqual(['encrypted', 'encrypted']);
    for (const report of [await near.stopStream(), await far.stopStream()]) {
      expect(report).toMatchObject({ lost: [], overflows: 0 });
    }
    await expect.poll(() => [...h1.problems(), ...h2.problems()], PATIENCE).toEqual([]);

    expect(change(h2, 'when-down', 'wait')).toMatchObject({ whenDown: 'wait', phase: 'done' });
    expect(both(({ acceptsClear }) => acceptsClear)).toEqual([false, false]);
    await wire.seen();
    expect(ping()).toBe(true);
    expect(await wire.seen()).toEqual([]);
  });
});

describe('hosts that do not agree whether they are neighbours', { timeout: 400_000 }, () => {
  const views = (): unknown => both(({ sends: way, hears, isWrapped }) => [way, hears, isWrapped]);
  const links = (): string[] =>
    [h1, h2].map(({ runDir }, index) => {
      const router = join(runDir, 'netns', 'router');
      const subnet = [h2, h1][index]?.subnet() ?? '';
      return /dev (\S+)/.exec(underlay.run(router, 'ip', 'route', 'show', subnet))?.[1] ?? '';
    });

  it('wrap what they send in clear, without a loss, also where a daemon is killed', async () => {
    const { pin } = h2.place;
    await h2.kill();
    // h1 has h2 on its link, and not the other way round
    underlay.run(pin, 'ip', 'address', 'add', '192.0.2.12/32', 'dev', 'eth0');
    underlay.run(pin, 'ip', 'address', 'del', '192.0.2.12/24', 'dev', 'eth0');
    underlay.run(pin, 'ip', 'route', 'replace', '192.0.2.1', 'dev', 'eth0');
    underlay.run(pin, 'ip', 'route', 'replace', 'default', 'via', '192.0.2.1');
    await h2.up();
    await expect.poll(answers, PATIENCE).toBe(true);
    await near.stream(b.hostAddress, ECHO_PORT, 4);
    await far.stream(a.hostAddress, ECHO_PORT, 4);
    expect(change(h1, 'encrypt', 'off')).toMatchObject({ phase: 'done' });
    expect(views()).toEqual([
      ['clear', 'clear', true],
      ['clear', 'clear', true],
    ]);
    expect(links()).toEqual(['wc-h1', 'wc-h2']);
    expect(h1.run('mesh', 'status')).toMatch(/^h2 +alive .* clear, wrapped +clear /m);
    expect(ping()).toBe(true);
    await h1.kill();
    await h1.up();
    await expect.poll(views, PATIENCE).toEqual([
      ['clear', 'clear', true],
      ['clear', 'clear', true],
    ]);
    expect(links()).toEqual(['wc-h1', 'wc-h2']);
    expect(change(h2, 'encrypt', 'on')).toMatchObject({ phase: 'done' });
    for (const report of [await near.stopStream(), await far.stopStream()]) {
      expect(report).toMatchObject({ lost: [], overflows: 0 });
    }
    expect([...h1.problems(), ...h2.problems()]).toEqual([]);
  });

  it('wrap it while the network drops what has a sandbox’s address, and no longer', async () => {
    const refuse =
      'add table bridge refuse; add chain bridge refuse c { type filter hook forward priority 0; }; add rule bridge refuse c ip saddr 10.64.0.0/10 drop';
    underlay.onWire('nft', refuse);
    expect(change(h1, 'encrypt', 'off')).toMatchObject({ phase: 'done' });
    expect(links()).toEqual(['wc-h1', 'wc-h2']);
    expect(ping()).toBe(true);
    await near.stream(b.hostAddress, ECHO_PORT, 4);
    underlay.onWire('nft', 'delete table bridge refuse');
    await expect.poll(links, PATIENCE).toEqual(['wd-h1', 'wd-h2']);
    expect(await near.stopStream()).toMatchObject({ lost: [], overflows: 0 });
    underlay.onWire('nft', refuse);
    await expect.poll(links, PATIENCE).toEqual(['wc-h1', 'wc-h2']);
    await expect.poll(() => ping(), PATIENCE).toBe(true);
    expect([...h1.problems(), ...h2.problems()]).toEqual([]);
  });
});

describe('a program of WireGuard that is killed', { timeout: 600_000 }, () => {
  it('in any phase of a change of ways or of keys is started anew, and the change is finished', async () => {
    using client = new CulvertClient({ socketPath: join(h1.runDir, 'api.sock') });
    const repaired: string[] = [];
    /** The phase in whose beginning one is killed, and which; the link of the one that was. */
    let victim: { readonly phase: string; readonly which: number; readonly known: readonly string[] } | undefined;
    let killed = '';
    let hears = false;
    const giveUp = new AbortController();
    const listening = (async () => {
      for await (const streamed of client.events({ signal: giveUp.signal })) {
        if (streamed === 'lost') throw new Error('Events were lost');
        const { type, message } = streamed.event;
        hears = true;
        if (type === 'host.repaired') repaired.push(message);
        if (type !== 'mesh.epoch' || victim === undefined || !message.endsWith(`phase ${victim.phase}`)) continue;
        const { phase, which, known } = victim;
        victim = undefined;
        // one that only now begins to make its link is nobody's yet
        const programs = programsOf(h1).filter(({ link }) => phase !== 'accept' || known.includes(link));
        const program = programs[which % programs.length];
        if (program === undefined) throw new Error('There is a program');
        killed = program.link;
        process.kill(program.pid, 'SIGKILL');
      }
    })();
    opened.defer(async () => {
      giveUp.abort();
      await listening;
    });
    const isHeard = async (): Promise<boolean> => {
      await client.drain();
      await client.undrain();
      return hears;
    };
    await expect.poll(isHeard, PATIENCE).toBe(true);
    let number = 0;
    for (const phase of ['accept', 'send', 'drop']) {
      for (const wish of [{ encrypts: false }, { encrypts: true }, { rotates: true }, { rotates: true }]) {
        number++;
        const said = `${JSON.stringify(wish)}, killed in phase ${phase}`;
        repaired.length = 0;
        killed = '';
        victim = { phase, which: number, known: programsOf(h1).map(({ link }) => link) };
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await client.changeMesh(wish);
        const isThere = async (): Promise<string> => {
          const { epoch } = await client.mesh();
          return `${epoch.number} ${epoch.phase}`;
        };
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await expect.poll(isThere, { ...PATIENCE, message: said }).toBe(`${number} done`);
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await expect.poll(() => ping(), { ...PATIENCE, message: said }).toBe(true);
        expect(killed, said).not.toBe('');
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await expect.poll(() => programsOf(h1).length, { ...PATIENCE, message: said }).toBe(1);
        const isTold = (): boolean => repaired.some((message) => message.includes(`restart WireGuard ${killed}`));
        // one that was to go anyway is not started again
        const isGone = (): boolean => programsOf(h1).every(({ link }) => link !== killed);
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await expect.poll(() => isTold() || isGone(), { ...PATIENCE, message: said }).toBe(true);
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await expect.poll(() => [...h1.problems(), ...h2.problems()], { ...PATIENCE, message: said }).toEqual([]);
      }
    }
  });
});
