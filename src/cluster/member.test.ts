import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HandClock } from '../../lab/hand-clock.ts';
import { formatPrefix, type Prefix, parsePrefix, prefixesOverlap } from '../addr/prefix.ts';
import { EmbeddedRegistry } from './embedded/registry.ts';
import { beginEpoch, firstEpoch } from './epoch.ts';
import { followHosts, Hosts } from './hosts.ts';
import type { JoinRequest } from './join-request.ts';
import { ALIVE, EPOCH, HOLDS, HOSTS, SUBNETS } from './keys.ts';
import { listAlive } from './liveness.ts';
import { Member, type Standing } from './member.ts';
import { writeEpoch } from './records.ts';
import { removeHost } from './remove.ts';
import { candidates, firstUnit, subnetAt, unitCount } from './subnets.ts';

const TIMING = { alive_ms: 10_000, hold_ms: 600_000 };
/** Of a hold’s lease, beyond the time in which the host is alive: it is renewed ten times in a hold. */
const HOLD_MS = TIMING.hold_ms * 1.1;

let folder: string;
let clock: HandClock;
let registry: EmbeddedRegistry;
let running: Member[];

beforeEach(() => {
  folder = mkdtempSync(joinPath(tmpdir(), 'culvert-member-'));
  clock = new HandClock();
  registry = new EmbeddedRegistry(joinPath(folder, 'registry.sqlite'), clock);
  running = [];
});
afterEach(async () => {
  await Promise.all(running.map((member) => member.stop({ keepsSubnet: false }).catch(() => undefined)));
  await registry[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

type Options = Partial<JoinRequest> & { readonly changed?: (standing: Standing) => void };

async function join(name: string, { changed = () => undefined, ...request }: Options = {}): Promise<Member> {
  const member = await Member.join({
    leased: () => undefined,
    registry,
    request: {
      name,
      identity: randomUUID(),
      session: newSession(),
      version: '1',
      mtu: 1420,
      published: { name },
      ...request,
    },
    timing: TIMING,
    nowMs: () => clock.monotonicMs(),
    changed,
  });
  running.push(member);
  return member;
}

/** @param place of a run folder, another one where absent */
function newSession(place: string = randomUUID()): JoinRequest['session'] {
  return { id: randomUUID(), place };
}

/** As a host that is killed: it says nothing any more. Its timer would be due when the test is long over. */
function forget(member: Member): void {
  running = running.filter((one) => one !== member);
}

const subnetOf = (member: Member): string => formatPrefix(member.membership.host.subnet);
const keys = async (prefix: string): Promise<string[]> => (await registry.list(prefix)).entries.map(({ key }) => key);

/** A range of two subnets. */
const TWO = { range: parsePrefix('10.64.0.0/19'), unit: 20 };

describe('a host that joins', () => {
  it('makes the cluster where there is none, and has a subnet of it', async () => {
    const first = await join('h1');
    const second = await join('h2');
    expect(first.membership.cluster).toMatchObject({ range: parsePrefix('10.64.0.0/10'), unit: 20 });
    expect(second.membership.cluster).toEqual(first.membership.cluster);
    expect(first.membership.host).toMatchObject({ generation: 1, published: { name: 'h1' } });
    expect(subnetOf(first)).toMatch(/^10\.\d+\.\d+\.0\/20$/);
    expect(subnetOf(second)).not.toBe(subnetOf(first));
    expect(await keys(ALIVE)).toEqual(['alive/h1', 'alive/h2']);
  });

  it('that comes back as it was is no news to the others', async () => {
    const request = { identity: randomUUID(), published: 'the same' };
    const before = await join('h1', request);
    await before.stop({ keepsSubnet: true });
    const [recorded] = (await registry.list(HOSTS)).entries;
    const again = await join('h1', request);
    expect((await registry.list(HOSTS)).entries).toEqual([recorded]);
    expect(await keys(ALIVE)).toEqual(['alive/h1']);
    await again.publish('another');
    expect((await registry.list(HOSTS)).entries[0]?.value).toContain('another');
    await again.resign();
    expect(await keys('')).toEqual(['cluster', 'mesh/epoch']);
  });

  it('has the subnet of before when it comes back, in the same generation', async () => {
    const identity = randomUUID();
    const before = await join('h1', { identity });
    await before.stop({ keepsSubnet: false });
    const again = await join('h1', { identity, bound: before.membership.host.subnet, published: 'anew' });
    expect(again.membership.host).toEqual({ ...before.membership.host, published: 'anew' });
  });

  it.each([
    ['cluster_mismatch', { range: parsePrefix('10.128.0.0/10') }],
    ['cluster_mismatch', { unit: 21 }],
    ['cluster_foreign', { clusterId: randomUUID() }],
    ['invalid_subnet_size', { length: 21 }],
    ['invalid_subnet_size', { length: 16 }],
    ['subnet_lost', { bound: parsePrefix('10.64.0.0/20') }],
    ['invalid_host_name', { name: 'a.b' }],
    ['host_name_in_use', { name: 'h1' }],
  ] as const)('is refused, and writes nothing: %s', async (code, request) => {
    const member = await join('h1');
    const before = (await registry.list('')).entries;
    await expect(join('h2', request)).rejects.toMatchObject({ code });
    expect((await registry.list('')).entries).toEqual(before);
    expect(member.standing).toEqual({ kind: 'joined' });
  });

  it.each([
    { range: parsePrefix('10.0.0.0/8'), unit: 30 },
    { range: parsePrefix('10.0.0.0/8'), unit: 7 },
    { range: parsePrefix('10.0.0.0/24'), unit: 20 },
    { range: parsePrefix('10.0.0.0/8'), unit: 25 },
  ])('makes no cluster of a range that cannot be cut so: $unit', async (request) => {
    await expect(join('h1', request)).rejects.toMatchObject({ code: 'invalid_range' });
    expect(await keys('')).toEqual([]);
  });

  it('is refused by a cluster that a newer Culvert made', async () => {
    await registry.commit([], [{ key: 'cluster', value: '{"format":2}' }]);
    await expect(join('h1')).rejects.toMatchObject({ code: 'registry_newer' });
  });

  it('may have a subnet of several units, which nobody else gets', async () => {
    const range = parsePrefix('10.64.0.0/18');
    const big = await join('h1', { range, unit: 20, length: 19 });
    const others = [await join('h2'), await join('h3')];
    await expect(join('h4')).rejects.toMatchObject({ code: 'cluster_full' });
    const all = [big, ...others].map(({ membership }) => membership.host.subnet);
    expect(big.membership.host.subnet.length).toBe(19);
    expect(pairs(all).filter(([one, other]) => prefixesOverlap(one, other))).toEqual([]);
  });

  it('shares nothing with a hundred that join at the same time', async () => {
    const range = parsePrefix('10.64.0.0/21');
    const names = Array.from({ length: 100 }, (_, index) => `h${index}`);
    const members = await Promise.all(names.map((name) => join(name, { range, unit: 28 })));
    expect(new Set(members.map(subnetOf)).size).toBe(100);
    expect(await keys(SUBNETS)).toHaveLength(100);
    const ids = new Set(members.map(({ membership }) => membership.cluster.id));
    expect(ids.size).toBe(1);
  });

  it('is one of two that want the same name', async () => {
    const outcomes = await Promise.allSettled([join('h1'), join('h1'), join('h1')]);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'host_name_in_use' });
    }
    expect(await keys(SUBNETS)).toHaveLength(1);
  });
});

describe('a host that gets another name', () => {
  it('takes what it has along, in one step, and leaves nothing behind', async () => {
    const identity = randomUUID();
    const session = newSession('run');
    const before = await join('h1', { identity, session });
    const { subnet } = before.membership.host;
    forget(before);
    const seen: string[][] = [];
    const giveUp = new AbortController();
    const following = (async () => {
      const all = new Set<string>();
      for await (const news of registry.follow(HOSTS, giveUp.signal)) {
        for (const { key, value } of news.kind === 'all' ? news.entries : news.changes) {
          if (value === undefined) all.delete(key);
          else all.add(key);
        }
        seen.push([...all]);
      }
    })();
    await expect.poll(() => seen).toEqual([['hosts/h1']]);
    const renamed = await join('h2', { identity, session: newSession('run'), formerName: 'h1', bound: subnet });
    expect(renamed.membership.host).toEqual({ ...before.membership.host, published: { name: 'h2' } });
    await expect.poll(() => seen).toEqual([['hosts/h1'], ['hosts/h2']]);
    giveUp.abort();
    await following;
    expect((await keys('')).filter((key) => key.endsWith('h1'))).toEqual([]);
    expect(await keys(SUBNETS)).toHaveLength(1);
    // again, with the state folder not written meanwhile
    forget(renamed);
    const again = await join('h2', { identity, session: newSession('run'), formerName: 'h1', bound: subnet });
    expect(subnetOf(again)).toBe(subnetOf(before));
    await again.resign();
    expect(await keys('')).toEqual(['cluster', 'mesh/epoch']);
  });

  it('gets no name that another has, there or not, and is the same as it was then', async () => {
    const identity = randomUUID();
    const former = await join('h1', { identity });
    const { subnet } = former.membership.host;
    const other = await join('h2');
    await former.stop({ keepsSubnet: true });
    const rename = { identity, formerName: 'h1', bound: subnet };
    await expect(join('h2', rename)).rejects.toMatchObject({ code: 'host_name_in_use' });
    await other.stop({ keepsSubnet: true });
    await expect(join('h2', rename)).rejects.toMatchObject({ code: 'host_name_in_use' });
    expect(subnetOf(await join('h1', rename))).toBe(formatPrefix(subnet));
  });

  it('is no copy of one that is there', async () => {
    const identity = randomUUID();
    await join('h1', { identity });
    await expect(join('h2', { identity, formerName: 'h1' })).rejects.toMatchObject({ code: 'host_identity_in_use' });
  });

  it('leaves nothing behind either where it wants another subnet', async () => {
    const identity = randomUUID();
    const session = newSession('run');
    forget(await join('h1', { identity, session }));
    const renamed = await join('h2', { identity, session, formerName: 'h1', length: 19 });
    expect(subnetOf(renamed)).toMatch(/\/19$/);
    expect(await keys(HOSTS)).toEqual(['hosts/h2']);
  });
});

describe('two machines with one copy of a state folder', () => {
  it('are not both let in: the second is refused while the first is there', async () => {
    const identity = randomUUID();
    const first = await join('h1', { identity });
    const { entries } = await registry.list('');
    await expect(join('h1', { identity })).rejects.toMatchObject({ code: 'host_identity_in_use' });
    expect((await registry.list('')).entries).toEqual(entries);
    await first.publish('still here');
    expect(first.standing).toEqual({ kind: 'joined' });
    forget(first);
    clock.monotonic += TIMING.alive_ms;
    expect(subnetOf(await join('h1', { identity }))).toBe(subnetOf(first));
    // it was away for too long
    await first.publish('here again');
    expect(first.standing).toMatchObject({
      kind: 'expelled',
      reason: expect.stringMatching(/a copy of this state fol/),
    });
  });

  it('are one of two that start at once', async () => {
    const identity = randomUUID();
    await (await join('h1', { identity })).stop({ keepsSubnet: true });
    const outcomes = await Promise.allSettled([join('h1', { identity }), join('h1', { identity })]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  it('see one another where the registry takes both', async () => {
    const identity = randomUUID();
    const first = await join('h1', { identity });
    const value = JSON.stringify({ format: 1, generation: 1, ...newSession() });
    await registry.commit([], [{ key: 'alive/h1', value }]);
    await first.publish('here');
    expect(first.standing).toMatchObject({ kind: 'expelled' });
    expect((await registry.get('alive/h1'))?.value).toBe(value);
  });

  it('are not what a daemon is that was killed and is back in its run folder', async () => {
    const identity = randomUUID();
    const killed = await join('h1', { identity, session: newSession('run') });
    forget(killed);
    const back = await join('h1', { identity, session: newSession('run') });
    expect(back.membership.host).toEqual(killed.membership.host);
    clock.monotonic += TIMING.alive_ms - 1;
    await back.publish('back');
    // what the killed one held ends without taking anything along
    clock.monotonic += 1;
    expect(await keys(ALIVE)).toEqual(['alive/h1']);
  });
});

describe('a host that is gone', () => {
  it('keeps its subnet for the hold, and no longer', async () => {
    const lost = await join('h1', TWO);
    await join('h2');
    forget(lost);
    clock.monotonic += TIMING.alive_ms;
    await beat();
    expect(await keys(ALIVE)).toEqual(['alive/h2']);
    clock.monotonic += HOLD_MS - 1;
    await beat();
    await expect(join('h3')).rejects.toMatchObject({ code: 'cluster_full' });
    clock.monotonic += 1;
    await beat();
    const heir = await join('h3');
    expect(subnetOf(heir)).toBe(subnetOf(lost));
    // whoever looks sees one host with the subnet, and what the former says or is told to changes nothing
    expect(await keys(HOSTS)).toEqual(['hosts/h2', 'hosts/h3']);
    await lost.stop({ keepsSubnet: true });
    await expect(removeHost(registry, 'h1')).rejects.toMatchObject({ code: 'host_unknown' });
    await heir.publish('still here');
    expect(heir.standing).toEqual({ kind: 'joined' });
    expect(await keys(HOLDS)).toHaveLength(2);
    await expect(join('h4')).rejects.toMatchObject({ code: 'cluster_full' });
  });

  it('does not give back what is another’s by now', async () => {
    const lost = await join('h1', TWO);
    await join('h2');
    forget(lost);
    clock.monotonic += TIMING.alive_ms + HOLD_MS;
    await beat();
    await join('h3');
    await lost.resign();
    expect(await keys(SUBNETS)).toHaveLength(2);
    expect(await keys(HOLDS)).toHaveLength(2);
  });

  it('makes no cluster of its own where the registry was emptied', async () => {
    const member = await join('h1');
    await registry.commit(
      [],
      (await keys('')).map((key) => ({ key, value: undefined })),
    );
    clock.monotonic += TIMING.alive_ms + HOLD_MS;
    await member.publish('here');
    expect(member.standing).toMatchObject({ kind: 'away', reason: expect.stringContaining('there is none') });
    expect(await keys('')).toEqual([]);
  });

  it('leaves no lease behind where it is refused', async () => {
    await join('h1');
    const count = (): unknown =>
      new DatabaseSync(registry.name).prepare('SELECT count(*) AS count FROM granted').get()?.['count'];
    const before = count();
    await expect(join('h1')).rejects.toMatchObject({ code: 'host_name_in_use' });
    expect(count()).toBe(before);
  });

  it('keeps it without end where it was stopped with sandboxes that live', async () => {
    const identity = randomUUID();
    const stopped = await join('h1', { ...TWO, identity });
    await join('h2');
    await stopped.stop({ keepsSubnet: true });
    clock.monotonic += 1e9;
    await beat();
    await expect(join('h3')).rejects.toMatchObject({ code: 'cluster_full' });
    const back = await join('h1', { identity, bound: stopped.membership.host.subnet });
    expect(subnetOf(back)).toBe(subnetOf(stopped));
    forget(back);
    clock.monotonic += 1e9;
    await beat();
    expect(subnetOf(await join('h3'))).toBe(subnetOf(back));
  });

  it('leaves nothing where it resigns', async () => {
    const member = await join('h1');
    await member.resign();
    expect(await keys('')).toEqual(['cluster', 'mesh/epoch']);
  });

  it('comes back to nothing where another has its subnet, and is told so while sandboxes live', async () => {
    const identity = randomUUID();
    const lost = await join('h1', { ...TWO, identity });
    const { subnet } = lost.membership.host;
    forget(lost);
    clock.monotonic += 1e9;
    await join('h2');
    await join('h3');
    await expect(join('h1', { identity, bound: subnet })).rejects.toMatchObject({ code: 'subnet_lost' });
    await expect(join('h1', { identity })).rejects.toMatchObject({ code: 'cluster_full' });
  });

  it('is replaced by a machine of its name, and has no part any more when it is back', async () => {
    const heard: Standing[] = [];
    const former = await join('h1', { changed: (standing) => void heard.push(standing) });
    clock.monotonic += TIMING.alive_ms;
    const successor = await join('h1');
    expect(successor.membership.host.generation).toBe(2);
    expect(subnetOf(successor)).not.toBe(subnetOf(former));
    await former.publish('from the grave');
    expect(former.standing).toMatchObject({ kind: 'expelled' });
    expect(heard).toEqual([former.standing]);
    await successor.publish('here');
    const { entries } = await registry.list(HOSTS);
    expect(JSON.parse(entries[0]?.value ?? '')).toMatchObject({ generation: 2, published: 'here' });
    await former.stop({ keepsSubnet: true });
    expect(await keys(ALIVE)).toEqual(['alive/h1']);
  });
});

describe('a host that is removed by hand', () => {
  it('leaves nothing, and its subnet is free at once', async () => {
    const lost = await join('h1', TWO);
    await join('h2');
    await expect(removeHost(registry, 'h1')).rejects.toMatchObject({ code: 'host_alive' });
    await expect(removeHost(registry, 'h3')).rejects.toMatchObject({ code: 'host_unknown' });
    forget(lost);
    clock.monotonic += TIMING.alive_ms;
    await beat();
    await registry.commit([], [{ key: 'subnets/99999999', value: 'nonsense' }]);
    expect(await removeHost(registry, 'h1')).toBe(1);
    expect((await keys('')).filter((key) => key.includes('h1'))).toEqual([]);
    expect(subnetOf(await join('h3'))).toBe(subnetOf(lost));
    await lost.publish('here again');
    expect(lost.standing).toMatchObject({ kind: 'expelled' });
  });
});

describe('a member', () => {
  it('says again that it is there where somebody has taken that away', async () => {
    const member = await join('h1');
    await registry.commit([], [{ key: 'alive/h1', value: undefined }]);
    await member.publish('here');
    expect(member.standing).toEqual({ kind: 'joined' });
    expect(await keys(ALIVE)).toEqual(['alive/h1']);
  });

  it('takes its place again where it was not heard of for a while, and nobody has taken it', async () => {
    const member = await join('h1');
    clock.monotonic += TIMING.alive_ms + HOLD_MS;
    expect(await keys(ALIVE)).toEqual([]);
    expect(await keys(HOLDS)).toEqual([]);
    await member.publish('again');
    expect(member.standing).toEqual({ kind: 'joined' });
    expect(await keys(ALIVE)).toEqual(['alive/h1']);
    expect(await keys(HOLDS)).toHaveLength(1);
    expect(member.membership.host).toMatchObject({ generation: 1, published: 'again' });
  });

  it('is told that the registry is away, and tells what it had to when that is back', async () => {
    const heard: string[] = [];
    const member = await join('h1', { changed: ({ kind }) => void heard.push(kind) });
    const other = new DatabaseSync(registry.name);
    other.exec('BEGIN IMMEDIATE');
    await member.publish('first');
    await member.publish('second');
    expect(member.standing).toMatchObject({ kind: 'away', sinceMs: clock.monotonic });
    other.exec('ROLLBACK');
    other.close();
    await member.publish('third');
    expect(heard).toEqual(['away', 'joined']);
    expect(member.membership.host.published).toBe('third');
  });

  it('is expelled where a person has removed it', async () => {
    const member = await join('h1');
    await registry.commit([], [{ key: 'hosts/h1', value: undefined }]);
    await member.publish('still here');
    expect(member.standing).toMatchObject({ kind: 'expelled', reason: expect.stringContaining('removed') });
    expect(await keys(HOSTS)).toEqual([]);
  });
});

describe('all hosts', () => {
  let giveUp: AbortController;
  beforeEach(() => {
    giveUp = new AbortController();
  });
  const follow = (): Parameters<typeof followHosts>[3] => ({ isOurs: async () => undefined, signal: giveUp.signal });

  it('are told gone that were remembered and are not there', async () => {
    const heard: unknown[] = [];
    await join('h1');
    const hosts = new Hosts(['h1', 'h2']);
    const following = followHosts(registry, hosts, (changes) => void heard.push(...changes), follow());
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

  it('are known to who follows, and one that cannot be read stays as it was', async () => {
    const hosts = new Hosts();
    const heard: string[] = [];
    const following = followHosts(
      registry,
      hosts,
      (changes) => void heard.push(...changes.map(({ name }) => name)),
      follow(),
    );
    const member = await join('h1');
    await join('h2');
    await expect.poll(() => hosts.all.has('h2')).toBe(true);
    expect(await listAlive(registry)).toEqual(new Set(['h1', 'h2']));
    heard.length = 0;
    await member.publish('new');
    await expect.poll(() => hosts.all.get('h1')?.record.published).toBe('new');
    expect(heard).toEqual(['h1']);
    forget(member);
    clock.monotonic += TIMING.alive_ms;
    await beat();
    expect(await listAlive(registry)).toEqual(new Set(['h2']));
    expect(hosts.all.has('h1')).toBe(true);
    expect(heard).toEqual(['h1']);
    await registry.commit([], [{ key: 'hosts/h1', value: 'nonsense' }]);
    await expect.poll(() => hosts.unreadable.get('h1')).toContain('it is no record');
    expect(hosts.all.get('h1')?.record.published).toBe('new');
    await registry.commit([], [{ key: 'hosts/h1', value: undefined }]);
    await expect.poll(() => hosts.all.has('h1')).toBe(false);
    expect(hosts.unreadable.size).toBe(0);
    const evil = { format: 1, identity: randomUUID(), generation: 1, version: '\u001b[2J', subnet: '10.64.0.0/20' };
    await registry.commit([], [{ key: 'hosts/h3', value: JSON.stringify(evil) }]);
    await registry.commit([], [{ key: 'hosts/\u001b[2J', value: JSON.stringify({ ...evil, version: '1' }) }]);
    await expect.poll(() => [...hosts.unreadable.keys()]).toEqual(['h3', '\u001b[2J']);
    expect([...hosts.unreadable.values()].join('')).not.toContain('\u001b');
    expect([...hosts.all.keys()]).toEqual(['h2']);
    giveUp.abort();
    await following;
  });
});

describe('subnets', () => {
  it('are tried each once, from anywhere', () => {
    const plan = fc
      .record({ length: fc.integer({ min: 8, max: 20 }), more: fc.integer({ min: 2, max: 9 }), seed: fc.string() })
      .map(({ length, more, seed }) => ({
        plan: { range: { ...parsePrefix('10.0.0.0/8'), length }, unit: length + more },
        seed,
      }));
    fc.assert(
      fc.property(plan, fc.constantFrom(1, 2, 4), ({ plan: { range, unit }, seed }, units) => {
        const count = unitCount({ range, unit }) / units;
        const firsts = [...candidates({ range, unit }, units, seed, 1e6)];
        expect(new Set(firsts).size).toBe(count);
        for (const first of firsts) {
          expect(first % units).toBe(0);
          expect(firstUnit({ range, unit }, subnetAt({ range, unit }, first, units))).toBe(first);
        }
      }),
    );
  });
});

/** Those that run are heard of. */
async function beat(): Promise<void> {
  await Promise.all(running.map((member) => member.publish({})));
}

function pairs(prefixes: readonly Prefix[]): [Prefix, Prefix][] {
  return prefixes.flatMap((one, index) => prefixes.slice(index + 1).map((other): [Prefix, Prefix] => [one, other]));
}

it('has packets of one size with all others, which the first one says', async () => {
  const first = await join('h1', { mtu: 1420 });
  expect(first.membership.epoch).toMatchObject({ number: 0, mtu: 1420 });
  const refused = join('h2', { mtu: 1320 });
  await expect(refused).rejects.toMatchObject({ code: 'mtu_too_small' });
  await expect(refused).rejects.toThrow(
    /agreed on packets of 1420 bytes, and this one takes 1320 .*culvert mesh mtu 1320/,
  );
  expect(await registry.get('hosts/h2')).toBeUndefined();
  const larger = await join('h3', { mtu: 8920 });
  expect(larger.membership.epoch.mtu).toBe(1420);
  // until the last host sends no more, it may be sent the larger ones
  await beginEpoch(registry, { mtu: 1320 }, 0);
  await expect(join('h2', { mtu: 1320 })).rejects.toThrow(/until the change that is under way is done/);
  await registry.commit([], [{ key: EPOCH, value: writeEpoch({ ...firstEpoch(1320), number: 1 }) }]);
  await join('h2', { mtu: 1320 });
  // one that was there before is not kept from its sandboxes
  await larger.stop({ keepsSubnet: true });
  const { identity } = larger.membership.host;
  const back = await join('h3', { identity, mtu: 1200 });
  expect(back.membership.host.subnet).toEqual(larger.membership.host.subnet);
});
