import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineProcess } from '../lab/line-process.ts';
import { Underlay, type UnderlayHost } from '../lab/underlay.ts';
import type { EpochResource, MeshResource, SandboxResource, StatusResource } from '../src/api/client/client.ts';
import { HostDaemon } from './support/host-daemon.ts';
import { SINK, SOURCE } from './support/talk.ts';

/* Hosts agree on how large packets may be, and change it while their sandboxes talk. */

/** bytes, over TCP during each change */
const SENT = 48 << 20;
const PATIENCE = { timeout: 90_000, interval: 100 };

let opened: AsyncDisposableStack;
let underlay: Underlay;
let registry: string;
let one: HostDaemon;
let other: HostDaemon;

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  underlay = opened.use(new Underlay(3));
  const [first, second] = underlay.hosts as [UnderlayHost, UnderlayHost];
  registry = `file:${join(first.folder, 'registry.sqlite')}`;
  one = daemonOn(first);
  other = daemonOn(second);
  await Promise.all([one.up(), other.up()]);
});
afterEach(() => opened.disposeAsync());

function daemonOn(place: UnderlayHost): HostDaemon {
  const daemon = new HostDaemon(place, registry);
  opened.defer(() => daemon.kill());
  return daemon;
}

function create(daemon: HostDaemon, id: string, topology: string): SandboxResource {
  const group = topology === 'bridge' ? [] : ['--group', 'web'];
  const [sandbox] = daemon.json('create', id, '--topology', topology, ...group) as SandboxResource[];
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return sandbox;
}

const mesh = (daemon: HostDaemon): MeshResource => daemon.json('mesh', 'status') as MeshResource;
const resize = (daemon: HostDaemon, mtu: number): EpochResource =>
  daemon.json('mesh', 'mtu', String(mtu), '--wait', '--timeout', '90') as EpochResource;

/** bytes, of every link of a namespace that is up, but the loopback */
function mtusIn(pin: string): number[] {
  const links = JSON.parse(underlay.run(pin, 'ip', '-j', 'link', 'show', 'up')) as { ifname: string; mtu: number }[];
  return [...new Set(links.filter(({ ifname }) => ifname !== 'lo').map(({ mtu }) => mtu))];
}

/** Routes to other hosts that let pass less than the links do. */
function narrowRoutes({ runDir }: HostDaemon): number {
  const routes = underlay.run(join(runDir, 'netns', 'router'), 'ip', 'route', 'show', 'root', '10.64.0.0/10');
  return [...routes.matchAll(/ mtu \d+/g)].length;
}

function ping({ netns }: SandboxResource, to: SandboxResource, mtu: number): boolean {
  const parameters = ['-c', '1', '-W', '10', '-M', 'do', '-s', String(mtu - 28), to.hostAddress];
  return spawnSync('nsenter', [`--net=${netns}`, 'ping', ...parameters]).status === 0;
}

describe('the size of packets', { timeout: 600_000 }, () => {
  it('is lowered and raised while sandboxes talk, for all links of all hosts, and a host that takes less joins in between', async () => {
    const [a, b] = [create(one, 'a', 'netns'), create(other, 'b', 'netns')];
    const [p, q] = [create(one, 'p', 'netns'), create(other, 'q', 'netns')];
    const rest = [p, q, create(one, 'c', 'microvm'), create(one, 'd', 'bridge')];
    await expect.poll(() => ping(p, q, 1420), PATIENCE).toBe(true);
    expect(ping(p, q, 1421)).toBe(false);
    const sink = opened.use(new LineProcess(b.netns, process.execPath, ['-e', SINK]));
    const to = [b.hostAddress, await sink.line()];
    const source = opened.use(new LineProcess(a.netns, process.execPath, ['-e', SOURCE, ...to]));
    expect(await source.line()).toBe('connected');
    const { pin: smallPin } = underlay.hosts[2] as UnderlayHost;
    underlay.run(smallPin, 'ip', 'link', 'set', 'eth0', 'mtu', '1400');
    const small = daemonOn(underlay.hosts[2] as UnderlayHost);
    await expect(small.up()).rejects.toThrow(/agreed on packets of 1420 bytes, and this one takes 1320/);

    for (const mtu of [1320, 1420, 1320]) {
      const written = source.ask(String(SENT));
      const epoch = resize(mtu === 1420 ? other : one, mtu);
      expect(epoch).toMatchObject({ phase: 'done', mtu });
      expect(await written).toBe('written');
      for (const { netns } of [a, b, ...rest]) expect(mtusIn(netns)).toEqual([mtu]);
      for (const daemon of [one, other]) {
        expect(mtusIn(join(daemon.runDir, 'netns', 'router'))).toEqual([mtu]);
        expect((daemon.json('status') as StatusResource).mtu).toBe(mtu);
        expect(daemon.json('reconcile', '--dry-run')).toMatchObject({ plan: [] });
      }
      // who is told that less passes remembers it for minutes: nobody asks before all is as it is to be
      await expect.poll(() => [one, other].map(narrowRoutes), PATIENCE).toEqual([0, 0]);
      expect(mesh(one).peers.map(({ pathMtu }) => pathMtu)).toEqual([mtu]);
      expect([ping(p, q, mtu), ping(q, p, mtu), ping(p, q, mtu + 1)]).toEqual([true, true, false]);
    }
    expect(await source.ask('end')).toBe('ended');
    expect(await sink.line()).toBe(String(3 * SENT));
    await small.up();
    expect((small.json('status') as StatusResource).mtu).toBe(1320);
    const s = create(small, 's', 'netns');
    await expect.poll(() => ping(s, a, 1320), PATIENCE).toBe(true);
    // one that takes less holds all others to it
    expect(() => one.run('mesh', 'mtu', '1420')).toThrow(/host h3 takes 1320; raise the MTU of its uplink by 100/);
  });
});
