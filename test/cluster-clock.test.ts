import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Endpoint } from '../lab/endpoint/endpoint.ts';
import { ECHO_PORT } from '../lab/endpoint/protocol.ts';
import { Underlay } from '../lab/underlay.ts';
import type {
  EpochResource,
  HostResource,
  MeshResource,
  SandboxResource,
  StatusResource,
} from '../src/api/client/client.ts';
import { HostDaemon } from './support/host-daemon.ts';

/* Two hosts, of which one has a wall clock that jumps. */

const PATIENCE = { timeout: 60_000, interval: 100 };
const PRELOAD = join(import.meta.dirname, 'support', 'jumping-clock.ts');
const HOUR_MS = 3_600_000;
/** more than any lease lasts, and any key may be old */
const JUMP_MS = 40 * 24 * HOUR_MS;
const CLUSTER = { rotateKeysEveryMs: HOUR_MS };

let opened: AsyncDisposableStack;
let h1: HostDaemon;
let h2: HostDaemon;
let offsetFile: string;

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  const underlay = opened.use(new Underlay(2));
  const [one, two] = underlay.hosts;
  if (one === undefined || two === undefined) throw new Error('There are two');
  const registry = `file:${join(one.folder, 'registry.sqlite')}`;
  [h1, h2] = [new HostDaemon(one, registry), new HostDaemon(two, registry)];
  offsetFile = join(one.folder, 'offset');
  writeFileSync(offsetFile, '0');
  opened.defer(async () => void (await Promise.all([h1.kill(), h2.kill()])));
  await Promise.all([start(), h2.up({ cluster: CLUSTER })]);
});
afterEach(() => opened.disposeAsync());

const start = (): Promise<void> =>
  h1.up({ cluster: CLUSTER, env: { NODE_OPTIONS: `--import ${PRELOAD}`, CLOCK_OFFSET: offsetFile } });

function create(daemon: HostDaemon, id: string): SandboxResource {
  const [sandbox] = daemon.json('create', id, '--topology', 'netns', '--group', 'web') as SandboxResource[];
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return sandbox;
}

const mesh = (daemon: HostDaemon): MeshResource => daemon.json('mesh', 'status') as MeshResource;
const change = (encrypts: 'on' | 'off'): EpochResource =>
  h1.json('mesh', 'encrypt', encrypts, '--wait', '--timeout', '60') as EpochResource;

describe('a host whose wall clock jumps', { timeout: 240_000 }, () => {
  it('loses no packet, no place and no key, and makes sandboxes, now and when it is started anew', async () => {
    const [a, b] = [create(h1, 'a'), create(h2, 'b')];
    const [near, far] = [
      opened.use(await Endpoint.start('a', a.netns)),
      opened.use(await Endpoint.start('b', b.netns)),
    ];
    const answers = async (): Promise<boolean> =>
      (await near.ask({ to: b.hostAddress, text: 'up', count: 1, waitMs: 300 })).echoes.length === 1;
    await expect.poll(answers, PATIENCE).toBe(true);
    const hosts = (): unknown =>
      (h2.json('hosts') as HostResource[]).map(({ name, isAlive, subnet, generation, publicKey }) => {
        return { name, isAlive, subnet, generation, publicKey };
      });
    const before = hosts();
    await near.stream(b.hostAddress, ECHO_PORT, 4);
    await far.stream(a.hostAddress, ECHO_PORT, 4);
    for (const [nth, jumpMs] of [JUMP_MS, -JUMP_MS, 0].entries()) {
      writeFileSync(offsetFile, String(jumpMs));
      const { startedWallMs } = h1.json('status') as StatusResource;
      // oxlint-disable-next-line no-await-in-loop -- it looks after leases and keys meanwhile
      await pause(4000);
      expect(change('off')).toMatchObject({ number: 4 * nth + 1, phase: 'done', rotation: 0 });
      expect(change('on')).toMatchObject({ number: 4 * nth + 2, phase: 'done', rotation: 0 });
      const late = create(h1, `late${nth}`);
      expect(h1.run('rm', late.id)).toContain(late.id);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await h1.kill();
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await start();
      // it was started by the clock that is wrong
      const again = (h1.json('status') as StatusResource).startedWallMs;
      if (jumpMs !== 0) expect(Math.abs(again - startedWallMs)).toBeGreaterThan(JUMP_MS / 2);
      expect(change('off')).toMatchObject({ number: 4 * nth + 3, phase: 'done', rotation: 0 });
      expect(change('on')).toMatchObject({ number: 4 * nth + 4, phase: 'done', rotation: 0 });
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await expect.poll(() => [...h1.problems(), ...h2.problems()], PATIENCE).toEqual([]);
      expect(hosts()).toEqual(before);
      expect(h1.run('reconcile', '--dry-run')).toBe('');
      for (const { handshakeMsAgo = 0 } of mesh(h1).peers) expect(handshakeMsAgo).toBeGreaterThanOrEqual(0);
    }
    for (const report of [await near.stopStream(), await far.stopStream()]) {
      expect(report).toMatchObject({ lost: [], overflows: 0 });
    }
  });
});
