import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LineProcess } from '../lab/line-process.ts';
import { Underlay } from '../lab/underlay.ts';
import type { SandboxResource } from '../src/api/client/client.ts';
import { HostDaemon } from './support/host-daemon.ts';
import { CALLER, ECHO } from './support/talk.ts';

/*
 * Sandboxes on two hosts that reach each other by their group:
 *
 *     h1: a in web ─── wa-h1 ══ encrypted ══ wa-h2 ─── h2: b in web, c in other, d alone
 */

const PATIENCE = { timeout: 20_000, interval: 50 };

let opened: AsyncDisposableStack;
let h1: HostDaemon;
let h2: HostDaemon;

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  const [one, two] = opened.use(new Underlay(2)).hosts;
  if (one === undefined || two === undefined) throw new Error('There are two');
  const registry = `file:${join(one.folder, 'registry.sqlite')}`;
  [h1, h2] = [new HostDaemon(one, registry), new HostDaemon(two, registry)];
  opened.defer(async () => void (await Promise.all([h1.kill(), h2.kill()])));
  await Promise.all([h1.up(), h2.up()]);
});
afterEach(() => opened.disposeAsync());

function create(daemon: HostDaemon, id: string, ...options: string[]): SandboxResource {
  const [sandbox] = daemon.json('create', id, '--topology', 'netns', ...options) as SandboxResource[];
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return sandbox;
}

function reaches(from: SandboxResource, to: SandboxResource): boolean {
  return spawnSync('nsenter', [`--net=${from.netns}`, 'ping', '-c', '1', '-W', '5', to.hostAddress]).status === 0;
}

/** The addresses of a name, as a sandbox hears of them; the code of DNS where there are none. */
function resolved(from: SandboxResource, name: string): string {
  const program = `
    const resolver = new (require('node:dns').Resolver)({ tries: 1, timeout: 20000 });
    resolver.setServers(['${from.dns}']);
    resolver.resolve4('${name}', (error, addresses) => console.log(error?.code ?? addresses.join(' ')));`;
  const { stdout } = spawnSync('nsenter', [`--net=${from.netns}`, process.execPath, '-e', program]);
  return stdout.toString().trim();
}

function elements(daemon: HostDaemon, set: string): string {
  const router = join(daemon.runDir, 'netns', 'router');
  const { stdout } = spawnSync('nsenter', [`--net=${router}`, 'nft', 'list', 'map', 'inet', 'culvert', set]);
  return stdout.toString();
}

it('reach each other by their group, and nobody else', { timeout: 120_000 }, async () => {
  const a = create(h1, 'a', '--group', 'web', '--egress', 'none');
  const b = create(h2, 'b', '--group', 'web');
  const c = create(h2, 'c', '--group', 'other', '--allow', '10.64.0.0/10');
  const d = create(h2, 'd', '--allow', '10.64.0.0/10');
  await expect.poll(() => reaches(a, b), PATIENCE).toBe(true);
  expect(reaches(b, a)).toBe(true);
  expect([reaches(a, c), reaches(c, a), reaches(a, d), reaches(d, a)]).toEqual([false, false, false, false]);
  expect(elements(h1, 'far_groups')).toMatch(/ : 0x[0-9a-f]+ comment "b on h2 in web"|comment "b on h2 in web" : 0x/);
  // of groups that it has no part in a host knows nothing
  expect(elements(h1, 'far_groups')).not.toContain('other');

  expect([resolved(a, 'b.web.culvert'), resolved(b, 'a.web.culvert')]).toEqual([b.hostAddress, a.hostAddress]);
  expect([resolved(a, 'c.other.culvert'), resolved(d, 'b.web.culvert')]).toEqual(['ENOTFOUND', 'ENOTFOUND']);

  // who leaves is cut off, also from what is established, and who comes is reached
  using echo = new LineProcess(b.netns, process.execPath, ['-e', ECHO]);
  const port = await echo.line();
  using caller = new LineProcess(a.netns, process.execPath, ['-e', CALLER, b.hostAddress, port]);
  expect(await caller.line()).toBe('connected');
  expect(await caller.ask('there?')).toBe('there?');
  h2.run('set', 'b', '--no-group');
  expect(await caller.ask('still?')).toBe('no answer');
  await expect.poll(() => elements(h1, 'far_groups'), PATIENCE).not.toContain('b on h2');
  h2.run('set', 'c', '--group', 'web');
  await expect.poll(() => reaches(a, c) && reaches(c, a), PATIENCE).toBe(true);

  // a daemon that is killed leaves the rules as they are, and finds them again
  await h1.kill();
  expect([reaches(a, c), reaches(c, a)]).toEqual([true, true]);
  h2.run('rm', 'c');
  const e = create(h2, 'e', '--group', 'web');
  await h1.up();
  await expect.poll(() => reaches(a, e) && reaches(e, a), PATIENCE).toBe(true);
  await expect.poll(() => elements(h1, 'far_groups'), PATIENCE).not.toContain('c on h2');
  expect([resolved(a, 'e.web.culvert'), resolved(a, 'c.web.culvert')]).toEqual([e.hostAddress, 'ENOTFOUND']);
  expect(h1.run('reconcile', '--dry-run')).toBe('');
  expect([...h1.problems(), ...h2.problems()]).toEqual([]);

  // with the last of a group goes what is known of it
  h1.run('rm', 'a');
  await expect.poll(() => elements(h1, 'far_groups'), PATIENCE).not.toContain('web');
  await expect.poll(() => elements(h2, 'far_groups'), PATIENCE).not.toContain('web');
});
