import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Endpoint } from '../lab/endpoint/endpoint.ts';
import { ECHO_PORT } from '../lab/endpoint/protocol.ts';
import { LabEtcd } from '../lab/etcd.ts';
import { LineProcess } from '../lab/line-process.ts';
import { Underlay } from '../lab/underlay.ts';
import type { HostResource, SandboxResource } from '../src/api/client/client.ts';
import { HostDaemon } from './support/host-daemon.ts';

/*
 * The registry is another one's for a while, at the same address:
 *
 *     h1 ─┐            ┌─ etcd, the cluster’s
 *     h2 ─┼─ underlay ─┤  … killed, and in its place:
 *     h3 ─┘            └─ etcd, empty, in which h3 founds another cluster
 */

const PATIENCE = { timeout: 60_000, interval: 200 };

let opened: AsyncDisposableStack;
let etcd: LabEtcd;
let h1: HostDaemon;
let h2: HostDaemon;
let stranger: HostDaemon;

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  const underlay = opened.use(new Underlay(3));
  etcd = opened.use(await LabEtcd.start({ over: underlay.hosts.slice(0, 1) }));
  const registry = `etcd://${etcd.endpoints.join(',')}/lab`;
  [h1, h2, stranger] = underlay.hosts.map((place) => new HostDaemon(place, registry)) as [
    HostDaemon,
    HostDaemon,
    HostDaemon,
  ];
  opened.defer(async () => void (await Promise.all([h1, h2, stranger].map((daemon) => daemon.kill()))));
  await Promise.all([h1.up(), h2.up()]);
});
afterEach(() => opened.disposeAsync());

async function inGroup(daemon: HostDaemon, id: string): Promise<{ endpoint: Endpoint; address: string }> {
  const [sandbox] = daemon.json('create', id, '--topology', 'netns', '--group', 'web') as SandboxResource[];
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return { endpoint: opened.use(await Endpoint.start(id, sandbox.netns)), address: sandbox.hostAddress };
}

/** The etcd of now is killed, and goes on with another one's data, or with none. */
async function become(data: string, keep: string): Promise<void> {
  await etcd.kill(0);
  const at = join(etcd.folder, 'm1');
  renameSync(at, join(etcd.folder, keep));
  if (data !== '') renameSync(join(etcd.folder, data), at);
  etcd.launch(0);
  await etcd.ready();
}

const hosts = (daemon: HostDaemon): string[] =>
  (daemon.json('hosts') as HostResource[]).map(({ name, isAlive }) => `${name} ${isAlive ?? 'unknown'}`);

describe('a registry that is another one’s for a while', { timeout: 240_000 }, () => {
  it('takes nothing from who runs: nobody is gone, nothing is written there, and all goes on when it is back', async () => {
    h1.run('mesh', 'encrypt', 'off', '--wait');
    h1.run('mesh', 'encrypt', 'on', '--wait');
    const one = await inGroup(h1, 'one');
    const two = await inGroup(h2, 'two');
    const answers = async (): Promise<boolean> =>
      (await one.endpoint.ask({ to: two.address, text: 'up', count: 1, waitMs: 10_000 })).echoes.length === 1;
    await expect.poll(answers, PATIENCE).toBe(true);
    const events = opened.use(new LineProcess(undefined, 'nsenter', h1.command('events', '--type', 'mesh.')));
    await one.endpoint.stream(two.address, ECHO_PORT, 4);

    await become('', 'ours');
    await expect.poll(() => h1.problems(), PATIENCE).toContain('registry_foreign');
    await expect.poll(() => h2.problems(), PATIENCE).toContain('registry_foreign');
    await stranger.up();
    await inGroup(stranger, 'three');
    // their leases have ended by now, where they are
    await expect.poll(() => h1.problems(), PATIENCE).toContain('registry_away');
    await expect.poll(() => hosts(h1), PATIENCE).toEqual(['h1 unknown', 'h2 unknown']);
    h1.run('create', 'later', '--topology', 'netns', '--group', 'web');
    expect(await answers()).toBe(true);
    expect(etcd.control('get', '--prefix', '--keys-only', 'lab/').match(/lab\/\S*h[12]\b\S*/g)).toBeNull();

    await become('ours', 'theirs');
    await expect.poll(() => [...h1.problems(), ...h2.problems()], PATIENCE).toEqual([]);
    await expect.poll(() => hosts(h1), PATIENCE).toEqual(['h1 true', 'h2 true']);
    expect(await one.endpoint.stopStream()).toMatchObject({ lost: [], overflows: 0 });
    // what led to the epoch of now is no news
    h2.run('mesh', 'encrypt', 'off', '--wait');
    const told: string[] = [];
    while (told.at(-1)?.includes('epoch 3') !== true || !told.at(-1)?.endsWith('done')) told.push(await events.line());
    expect(told.filter((line) => /epoch [012],/.test(line))).toEqual([]);
  });
});
