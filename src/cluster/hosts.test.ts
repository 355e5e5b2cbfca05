import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { followHosts, Hosts } from './hosts.ts';
import { listAlive } from './liveness.ts';
import { Members, TIMING } from './testing/members.ts';

let members: Members;
let giveUp: AbortController;

beforeEach(() => {
  members = new Members();
  giveUp = new AbortController();
});
afterEach(() => members[Symbol.asyncDispose]());

it('tells those gone that were remembered and are not there', async () => {
  const heard: unknown[] = [];
  await members.join('h1');
  const hosts = new Hosts(['h1', 'h2']);
  const following = followHosts(members.registry, hosts, (changes) => void heard.push(...changes), giveUp.signal);
  await expect.poll(() => hosts.all.has('h1')).toBe(true);
  expect(heard.slice(0, 2)).toEqual(
    [
      { name: 'h1', host: expect.objectContaining({ name: 'h1' }) },
      { name: 'h2', host: undefined },
    ].toReversed(),
  );
  giveUp.abort();
  await following;
});

it('tells who follows, and one that cannot be read stays as it was', async () => {
  const hosts = new Hosts();
  const heard: string[] = [];
  const following = followHosts(
    members.registry,
    hosts,
    (changes) => void heard.push(...changes.map(({ name }) => name)),
    giveUp.signal,
  );
  const member = await members.join('h1');
  await members.join('h2');
  await expect.poll(() => hosts.all.has('h2')).toBe(true);
  expect(await listAlive(members.registry)).toEqual(new Set(['h1', 'h2']));
  heard.length = 0;
  await member.publish('new');
  await expect.poll(() => hosts.all.get('h1')?.record.published).toBe('new');
  expect(heard).toEqual(['h1']);
  members.forget(member);
  members.clock.monotonic += TIMING.alive_ms;
  await members.beat();
  expect(await listAlive(members.registry)).toEqual(new Set(['h2']));
  expect(hosts.all.has('h1')).toBe(true);
  expect(heard).toEqual(['h1']);
  await members.registry.commit([], [{ key: 'hosts/h1', value: 'nonsense' }]);
  await expect.poll(() => hosts.unreadable.get('h1')).toContain('it is no record');
  expect(hosts.all.get('h1')?.record.published).toBe('new');
  await members.registry.commit([], [{ key: 'hosts/h1', value: undefined }]);
  await expect.poll(() => hosts.all.has('h1')).toBe(false);
  expect(hosts.unreadable.size).toBe(0);
  const evil = { format: 1, identity: randomUUID(), generation: 1, version: '\u001b[2J', subnet: '10.64.0.0/20' };
  await members.registry.commit([], [{ key: 'hosts/h3', value: JSON.stringify(evil) }]);
  await members.registry.commit([], [{ key: 'hosts/\u001b[2J', value: JSON.stringify({ ...evil, version: '1' }) }]);
  await expect.poll(() => [...hosts.unreadable.keys()]).toEqual(['h3', '\u001b[2J']);
  expect([...hosts.unreadable.values()].join('')).not.toContain('\u001b');
  expect([...hosts.all.keys()]).toEqual(['h2']);
  giveUp.abort();
  await following;
});
