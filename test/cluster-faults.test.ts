import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Endpoint } from '../lab/endpoint/endpoint.ts';
import { ECHO_PORT } from '../lab/endpoint/protocol.ts';
import { LabEtcd } from '../lab/etcd.ts';
import { Underlay } from '../lab/underlay.ts';
import type { MeshResource, SandboxResource } from '../src/api/client/client.ts';
import { HostDaemon } from './support/host-daemon.ts';

/* What breaks under a cluster that changes how its hosts send to each other: the registry, a host, the wire. */

const PATIENCE = { timeout: 60_000, interval: 200 };

let opened: AsyncDisposableStack;
let underlay: Underlay;
let etcd: LabEtcd;
let daemons: [HostDaemon, HostDaemon, HostDaemon];
let sandboxes: [SandboxResource, SandboxResource, SandboxResource];
let endpoints: [Endpoint, Endpoint, Endpoint];

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  underlay = opened.use(new Underlay(3));
  etcd = opened.use(await LabEtcd.start({ over: underlay.hosts }));
  const registry = `etcd://${etcd.endpoints.join(',')}/lab`;
  daemons = underlay.hosts.map((place) => new HostDaemon(place, registry)) as typeof daemons;
  opened.defer(async () => void (await Promise.all(daemons.map((daemon) => daemon.kill()))));
  await Promise.all(daemons.map((daemon) => daemon.up()));
  sandboxes = daemons.map((daemon, index) => create(daemon, `s${index}`)) as typeof sandboxes;
  endpoints = (await Promise.all(sandboxes.map(({ id, netns }) => Endpoint.start(id, netns)))) as typeof endpoints;
  for (const endpoint of endpoints) opened.use(endpoint);
  await expect.poll(() => daemons.every((daemon) => isWhole(daemon)), PATIENCE).toBe(true);
  await expect.poll(() => answers(0, 1), PATIENCE).toBe(true);
  await expect.poll(() => answers(1, 2), PATIENCE).toBe(true);
});
afterEach(() => opened.disposeAsync());

function create(daemon: HostDaemon, id: string): SandboxResource {
  const [sandbox] = daemon.json('create', id, '--topology', 'netns', '--group', 'web') as SandboxResource[];
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return sandbox;
}

const mesh = (daemon: HostDaemon): MeshResource => daemon.json('mesh', 'status') as MeshResource;
const isWhole = (daemon: HostDaemon): boolean => mesh(daemon).peers.every(({ pathMtu }) => pathMtu === 1420);

async function answers(from: 0 | 1 | 2, to: 0 | 1 | 2): Promise<boolean> {
  const question = { to: sandboxes[to].hostAddress, text: 'up', count: 1, waitMs: 10_000 };
  return (await endpoints[from].ask(question)).echoes.length === 1;
}

/** `1 done clear clear`, as each of these hosts tells it. */
const states = (...of: readonly HostDaemon[]): string[] =>
  of.map((daemon) => {
    const { epoch, peers } = mesh(daemon);
    return [epoch.number, epoch.phase, ...peers.map(({ sends }) => sends)].join(' ');
  });

describe('a registry of three', { timeout: 240_000 }, () => {
  it('that loses one goes on, and one that loses two makes a change wait, without a loss', async () => {
    const [h1, h2, h3] = daemons;
    await endpoints[0].stream(sandboxes[1].hostAddress, ECHO_PORT, 4);
    await endpoints[1].stream(sandboxes[2].hostAddress, ECHO_PORT, 4);
    await etcd.kill(0);
    h2.run('mesh', 'encrypt', 'off');
    await expect.poll(() => states(h1, h2, h3), PATIENCE).toEqual(daemons.map(() => '1 done clear clear'));
    h3.run('mesh', 'encrypt', 'on');
    await etcd.kill(1);
    // nobody knows how far it has come, and everything that runs goes on
    await expect.poll(() => h1.problems(), PATIENCE).toContain('registry_away');
    const fourth = create(h1, 'later');
    expect(await answers(0, 1)).toBe(true);
    etcd.launch(1);
    etcd.launch(0);
    await etcd.ready();
    await expect.poll(() => states(h1, h2, h3), PATIENCE).toEqual(daemons.map(() => '2 done encrypted encrypted'));
    await expect.poll(() => daemons.flatMap((daemon) => daemon.problems()), PATIENCE).toEqual([]);
    for (const report of [await endpoints[0].stopStream(), await endpoints[1].stopStream()]) {
      expect(report).toMatchObject({ lost: [], overflows: 0 });
    }
    // what was made meanwhile is known to the others now
    const far = Endpoint.start(fourth.id, fourth.netns);
    opened.use(await far);
    const reaches = async (): Promise<boolean> =>
      (await endpoints[2].ask({ to: fourth.hostAddress, text: 'up', count: 1, waitMs: 300 })).echoes.length === 1;
    await expect.poll(reaches, PATIENCE).toBe(true);
  });
});

describe('a host that is cut off', { timeout: 400_000 }, () => {
  it('is not waited for, and comes along when it is back', async () => {
    const [h1, h2, h3] = daemons;
    await endpoints[0].stream(sandboxes[1].hostAddress, ECHO_PORT, 4);
    underlay.onWire('ip', 'link', 'set', 'h3', 'down');
    h1.run('mesh', 'encrypt', 'off');
    await expect.poll(() => states(h1, h2), PATIENCE).toEqual(['1 done clear encrypted', '1 done clear encrypted']);
    const told = h1.run('mesh', 'status');
    expect(told).toMatch(/^h3 +lost /m);
    expect(await endpoints[0].stopStream()).toMatchObject({ lost: [], overflows: 0 });
    underlay.onWire('ip', 'link', 'set', 'h3', 'up');
    await expect.poll(() => states(h1, h2, h3), PATIENCE).toEqual(daemons.map(() => '1 done clear clear'));
    await expect.poll(() => answers(0, 2), PATIENCE).toBe(true);
    await expect.poll(() => daemons.flatMap((daemon) => daemon.problems()), PATIENCE).toEqual([]);
    // and nobody takes in what is refused, once all are there
    h2.run('mesh', 'encrypt', 'on', '--wait', '--timeout', '150');
    for (const daemon of daemons)
      expect(mesh(daemon).peers.map(({ acceptsClear }) => acceptsClear)).toEqual([false, false]);
  });
});

describe('an uplink', { timeout: 240_000 }, () => {
  it('that becomes narrow under a running cluster is noticed by those who send there', async () => {
    const [h1, h2, h3] = daemons;
    const [, second] = underlay.hosts;
    if (second === undefined) throw new Error('There are three');
    underlay.run(second.pin, 'ip', 'link', 'set', 'eth0', 'mtu', '1340', 'gso_max_segs', '1');
    underlay.onWire('ip', 'link', 'set', 'h2', 'mtu', '1340');
    const sizes = (daemon: HostDaemon): Record<string, number | undefined> =>
      Object.fromEntries(mesh(daemon).peers.map(({ name, pathMtu }) => [name, pathMtu]));
    await expect.poll(() => sizes(h1)['h2'], PATIENCE).toBeLessThanOrEqual(1280);
    await expect.poll(() => sizes(h3)['h2'], PATIENCE).toBeLessThanOrEqual(1280);
    expect(sizes(h1)['h3']).toBe(1420);
    expect(sizes(h3)['h1']).toBe(1420);
    // what the host itself wraps it cuts by itself, and all of it arrives
    expect(sizes(h2)['h1']).toBe(1420);
    const router = join(h1.runDir, 'netns', 'router');
    expect(underlay.run(router, 'ip', 'route', 'show', h2.subnet())).toMatch(/ mtu 12(6\d|7\d|80)/);
    expect(await answers(0, 1)).toBe(true);
  });
});
