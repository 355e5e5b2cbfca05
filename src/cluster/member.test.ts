import { randomUUID } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ALIVE, HOLDS, HOSTS, SUBNETS } from './keys.ts';
import type { Standing } from './member.ts';
import { removeHost } from './remove.ts';
import { HOLD_MS, Members, newSession, subnetOf, TIMING, TWO } from './testing/members.ts';

let members: Members;

beforeEach(() => void (members = new Members()));
afterEach(() => members[Symbol.asyncDispose]());

describe('a member', () => {
  it('says again that it is there where somebody has taken that away', async () => {
    const member = await members.join('h1');
    await members.registry.commit([], [{ key: 'alive/h1', value: undefined }]);
    await member.publish('here');
    expect(member.standing).toEqual({ kind: 'joined' });
    expect(await members.keys(ALIVE)).toEqual(['alive/h1']);
  });

  it('takes its place again where it was not heard of for a while, and nobody has taken it', async () => {
    const member = await members.join('h1');
    members.clock.monotonic += TIMING.alive_ms + HOLD_MS;
    expect(await members.keys(ALIVE)).toEqual([]);
    expect(await members.keys(HOLDS)).toEqual([]);
    await member.publish('again');
    expect(member.standing).toEqual({ kind: 'joined' });
    expect(await members.keys(ALIVE)).toEqual(['alive/h1']);
    expect(await members.keys(HOLDS)).toHaveLength(1);
    expect(member.membership.host).toMatchObject({ generation: 1, published: 'again' });
  });

  it('is told that the registry is away, and tells what it had to when that is back', async () => {
    const heard: string[] = [];
    const member = await members.join('h1', { changed: ({ kind }) => void heard.push(kind) });
    const other = new DatabaseSync(members.registry.name);
    other.exec('BEGIN IMMEDIATE');
    await member.publish('first');
    await member.publish('second');
    expect(member.standing).toMatchObject({ kind: 'away', sinceMs: members.clock.monotonic });
    other.exec('ROLLBACK');
    other.close();
    await member.publish('third');
    expect(heard).toEqual(['away', 'joined']);
    expect(member.membership.host.published).toBe('third');
  });

  it('is expelled where a person has removed it', async () => {
    const member = await members.join('h1');
    await members.registry.commit([], [{ key: 'hosts/h1', value: undefined }]);
    await member.publish('still here');
    expect(member.standing).toMatchObject({ kind: 'expelled', reason: expect.stringContaining('removed') });
    expect(await members.keys(HOSTS)).toEqual([]);
  });
});

describe('a host that is gone', () => {
  it('keeps its subnet for the hold, and no longer', async () => {
    const lost = await members.join('h1', TWO);
    await members.join('h2');
    members.forget(lost);
    members.clock.monotonic += TIMING.alive_ms;
    await members.beat();
    expect(await members.keys(ALIVE)).toEqual(['alive/h2']);
    members.clock.monotonic += HOLD_MS - 1;
    await members.beat();
    await expect(members.join('h3')).rejects.toMatchObject({ code: 'cluster_full' });
    members.clock.monotonic += 1;
    await members.beat();
    const heir = await members.join('h3');
    expect(subnetOf(heir)).toBe(subnetOf(lost));
    // whoever looks sees one host with the subnet, and what the former says or is told to changes nothing
    expect(await members.keys(HOSTS)).toEqual(['hosts/h2', 'hosts/h3']);
    await lost.stop({ keepsSubnet: true });
    await expect(removeHost(members.registry, 'h1')).rejects.toMatchObject({ code: 'host_unknown' });
    await heir.publish('still here');
    expect(heir.standing).toEqual({ kind: 'joined' });
    expect(await members.keys(HOLDS)).toHaveLength(2);
    await expect(members.join('h4')).rejects.toMatchObject({ code: 'cluster_full' });
  });

  it('does not give back what is another’s by now', async () => {
    const lost = await members.join('h1', TWO);
    await members.join('h2');
    members.forget(lost);
    members.clock.monotonic += TIMING.alive_ms + HOLD_MS;
    await members.beat();
    await members.join('h3');
    await lost.resign();
    expect(await members.keys(SUBNETS)).toHaveLength(2);
    expect(await members.keys(HOLDS)).toHaveLength(2);
  });

  it('makes no cluster of its own where the registry was emptied', async () => {
    const member = await members.join('h1');
    await members.registry.commit(
      [],
      (await members.keys('')).map((key) => ({ key, value: undefined })),
    );
    members.clock.monotonic += TIMING.alive_ms + HOLD_MS;
    await member.publish('here');
    expect(member.standing).toMatchObject({ kind: 'away', reason: expect.stringContaining('there is none') });
    expect(await members.keys('')).toEqual([]);
  });

  it('leaves no lease behind where it is refused', async () => {
    await members.join('h1');
    const count = (): unknown =>
      new DatabaseSync(members.registry.name).prepare('SELECT count(*) AS count FROM granted').get()?.['count'];
    const before = count();
    await expect(members.join('h1')).rejects.toMatchObject({ code: 'host_name_in_use' });
    expect(count()).toBe(before);
  });

  it('keeps it without end where it was stopped with sandboxes that live', async () => {
    const identity = randomUUID();
    const stopped = await members.join('h1', { ...TWO, identity });
    await members.join('h2');
    await stopped.stop({ keepsSubnet: true });
    members.clock.monotonic += 1e9;
    await members.beat();
    await expect(members.join('h3')).rejects.toMatchObject({ code: 'cluster_full' });
    const back = await members.join('h1', { identity, bound: stopped.membership.host.subnet });
    expect(subnetOf(back)).toBe(subnetOf(stopped));
    members.forget(back);
    members.clock.monotonic += 1e9;
    await members.beat();
    expect(subnetOf(await members.join('h3'))).toBe(subnetOf(back));
  });

  it('leaves nothing where it resigns', async () => {
    const member = await members.join('h1');
    await member.resign();
    expect(await members.keys('')).toEqual(['cluster', 'mesh/epoch']);
  });

  it('comes back to nothing where another has its subnet, and is told so while sandboxes live', async () => {
    const identity = randomUUID();
    const lost = await members.join('h1', { ...TWO, identity });
    const { subnet } = lost.membership.host;
    members.forget(lost);
    members.clock.monotonic += 1e9;
    await members.join('h2');
    await members.join('h3');
    await expect(members.join('h1', { identity, bound: subnet })).rejects.toMatchObject({ code: 'subnet_lost' });
    await expect(members.join('h1', { identity })).rejects.toMatchObject({ code: 'cluster_full' });
  });

  it('is replaced by a machine of its name, and has no part any more when it is back', async () => {
    const heard: Standing[] = [];
    const former = await members.join('h1', { changed: (standing) => void heard.push(standing) });
    members.clock.monotonic += TIMING.alive_ms;
    const successor = await members.join('h1');
    expect(successor.membership.host.generation).toBe(2);
    expect(subnetOf(successor)).not.toBe(subnetOf(former));
    await former.publish('from the grave');
    expect(former.standing).toMatchObject({ kind: 'expelled' });
    expect(heard).toEqual([former.standing]);
    await successor.publish('here');
    const { entries } = await members.registry.list(HOSTS);
    expect(JSON.parse(entries[0]?.value ?? '')).toMatchObject({ generation: 2, published: 'here' });
    await former.stop({ keepsSubnet: true });
    expect(await members.keys(ALIVE)).toEqual(['alive/h1']);
  });
});

describe('two machines with one copy of a state folder', () => {
  it('are not both let in: the second is refused while the first is there', async () => {
    const identity = randomUUID();
    const first = await members.join('h1', { identity });
    const { entries } = await members.registry.list('');
    await expect(members.join('h1', { identity })).rejects.toMatchObject({ code: 'host_identity_in_use' });
    expect((await members.registry.list('')).entries).toEqual(entries);
    await first.publish('still here');
    expect(first.standing).toEqual({ kind: 'joined' });
    members.forget(first);
    members.clock.monotonic += TIMING.alive_ms;
    expect(subnetOf(await members.join('h1', { identity }))).toBe(subnetOf(first));
    // it was away for too long
    await first.publish('here again');
    expect(first.standing).toMatchObject({
      kind: 'expelled',
      reason: expect.stringMatching(/a copy of this state fol/),
    });
  });

  it('are one of two that start at once', async () => {
    const identity = randomUUID();
    await (await members.join('h1', { identity })).stop({ keepsSubnet: true });
    const outcomes = await Promise.allSettled([members.join('h1', { identity }), members.join('h1', { identity })]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  it('see one another where the registry takes both', async () => {
    const identity = randomUUID();
    const first = await members.join('h1', { identity });
    const value = JSON.stringify({ format: 1, generation: 1, ...newSession() });
    await members.registry.commit([], [{ key: 'alive/h1', value }]);
    await first.publish('here');
    expect(first.standing).toMatchObject({ kind: 'expelled' });
    expect((await members.registry.get('alive/h1'))?.value).toBe(value);
  });

  it('are not what a daemon is that was killed and is back in its run folder', async () => {
    const identity = randomUUID();
    const killed = await members.join('h1', { identity, session: newSession('run') });
    members.forget(killed);
    const back = await members.join('h1', { identity, session: newSession('run') });
    expect(back.membership.host).toEqual(killed.membership.host);
    members.clock.monotonic += TIMING.alive_ms - 1;
    await back.publish('back');
    // what the killed one held ends without taking anything along
    members.clock.monotonic += 1;
    expect(await members.keys(ALIVE)).toEqual(['alive/h1']);
  });
});
