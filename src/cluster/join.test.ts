import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatPrefix, type Prefix, parsePrefix, prefixesOverlap } from '../addr/prefix.ts';
import { beginEpoch, firstEpoch } from './epoch.ts';
import { ALIVE, EPOCH, HOSTS, SUBNETS } from './keys.ts';
import { writeEpoch } from './records.ts';
import { Members, newSession, subnetOf } from './testing/members.ts';

let members: Members;

beforeEach(() => void (members = new Members()));
afterEach(() => members[Symbol.asyncDispose]());

describe('a host that joins', () => {
  it('makes the cluster where there is none, and has a subnet of it', async () => {
    const first = await members.join('h1');
    const second = await members.join('h2');
    expect(first.membership.cluster).toMatchObject({ range: parsePrefix('10.64.0.0/10'), unit: 20 });
    expect(second.membership.cluster).toEqual(first.membership.cluster);
    expect(first.membership.host).toMatchObject({ generation: 1, published: { name: 'h1' } });
    expect(subnetOf(first)).toMatch(/^10\.\d+\.\d+\.0\/20$/);
    expect(subnetOf(second)).not.toBe(subnetOf(first));
    expect(await members.keys(ALIVE)).toEqual(['alive/h1', 'alive/h2']);
  });

  it('that comes back as it was is no news to the others', async () => {
    const request = { identity: randomUUID(), published: 'the same' };
    const before = await members.join('h1', request);
    await before.stop({ keepsSubnet: true });
    const [recorded] = (await members.registry.list(HOSTS)).entries;
    const again = await members.join('h1', request);
    expect((await members.registry.list(HOSTS)).entries).toEqual([recorded]);
    expect(await members.keys(ALIVE)).toEqual(['alive/h1']);
    await again.publish('another');
    expect((await members.registry.list(HOSTS)).entries[0]?.value).toContain('another');
    await again.resign();
    expect(await members.keys('')).toEqual(['cluster', 'mesh/epoch']);
  });

  it('has the subnet of before when it comes back, in the same generation', async () => {
    const identity = randomUUID();
    const before = await members.join('h1', { identity });
    await before.stop({ keepsSubnet: false });
    const again = await members.join('h1', { identity, bound: before.membership.host.subnet, published: 'anew' });
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
    const member = await members.join('h1');
    const before = (await members.registry.list('')).entries;
    await expect(members.join('h2', request)).rejects.toMatchObject({ code });
    expect((await members.registry.list('')).entries).toEqual(before);
    expect(member.standing).toEqual({ kind: 'joined' });
  });

  it.each([
    { range: parsePrefix('10.0.0.0/8'), unit: 30 },
    { range: parsePrefix('10.0.0.0/8'), unit: 7 },
    { range: parsePrefix('10.0.0.0/24'), unit: 20 },
    { range: parsePrefix('10.0.0.0/8'), unit: 25 },
  ])('makes no cluster of a range that cannot be cut so: $unit', async (request) => {
    await expect(members.join('h1', request)).rejects.toMatchObject({ code: 'invalid_range' });
    expect(await members.keys('')).toEqual([]);
  });

  it('is refused by a cluster that a newer Culvert made', async () => {
    await members.registry.commit([], [{ key: 'cluster', value: '{"format":2}' }]);
    await expect(members.join('h1')).rejects.toMatchObject({ code: 'registry_newer' });
  });

  it('may have a subnet of several units, which nobody else gets', async () => {
    const range = parsePrefix('10.64.0.0/18');
    const big = await members.join('h1', { range, unit: 20, length: 19 });
    const others = [await members.join('h2'), await members.join('h3')];
    await expect(members.join('h4')).rejects.toMatchObject({ code: 'cluster_full' });
    const all = [big, ...others].map(({ membership }) => membership.host.subnet);
    expect(big.membership.host.subnet.length).toBe(19);
    expect(pairs(all).filter(([one, other]) => prefixesOverlap(one, other))).toEqual([]);
  });

  it('shares nothing with a hundred that join at the same time', async () => {
    const range = parsePrefix('10.64.0.0/21');
    const names = Array.from({ length: 100 }, (_, index) => `h${index}`);
    const joined = await Promise.all(names.map((name) => members.join(name, { range, unit: 28 })));
    expect(new Set(joined.map(subnetOf)).size).toBe(100);
    expect(await members.keys(SUBNETS)).toHaveLength(100);
    const ids = new Set(joined.map(({ membership }) => membership.cluster.id));
    expect(ids.size).toBe(1);
  });

  it('is one of two that want the same name', async () => {
    const outcomes = await Promise.allSettled([members.join('h1'), members.join('h1'), members.join('h1')]);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'host_name_in_use' });
    }
    expect(await members.keys(SUBNETS)).toHaveLength(1);
  });
});

describe('a host that gets another name', () => {
  it('takes what it has along, in one step, and leaves nothing behind', async () => {
    const identity = randomUUID();
    const session = newSession('run');
    const before = await members.join('h1', { identity, session });
    const { subnet } = before.membership.host;
    members.forget(before);
    const seen: string[][] = [];
    const giveUp = new AbortController();
    const following = (async () => {
      const all = new Set<string>();
      for await (const news of members.registry.follow(HOSTS, giveUp.signal)) {
        for (const { key, value } of news.kind === 'all' ? news.entries : news.changes) {
          if (value === undefined) all.delete(key);
          else all.add(key);
        }
        seen.push([...all]);
      }
    })();
    await expect.poll(() => seen).toEqual([['hosts/h1']]);
    const renamed = await members.join('h2', { identity, session: newSession('run'), formerName: 'h1', bound: subnet });
    expect(renamed.membership.host).toEqual({ ...before.membership.host, published: { name: 'h2' } });
    await expect.poll(() => seen).toEqual([['hosts/h1'], ['hosts/h2']]);
    giveUp.abort();
    await following;
    expect((await members.keys('')).filter((key) => key.endsWith('h1'))).toEqual([]);
    expect(await members.keys(SUBNETS)).toHaveLength(1);
    // again, with the state folder not written meanwhile
    members.forget(renamed);
    const again = await members.join('h2', { identity, session: newSession('run'), formerName: 'h1', bound: subnet });
    expect(subnetOf(again)).toBe(subnetOf(before));
    await again.resign();
    expect(await members.keys('')).toEqual(['cluster', 'mesh/epoch']);
  });

  it('gets no name that another has, there or not, and is the same as it was then', async () => {
    const identity = randomUUID();
    const former = await members.join('h1', { identity });
    const { subnet } = former.membership.host;
    const other = await members.join('h2');
    await former.stop({ keepsSubnet: true });
    const rename = { identity, formerName: 'h1', bound: subnet };
    await expect(members.join('h2', rename)).rejects.toMatchObject({ code: 'host_name_in_use' });
    await other.stop({ keepsSubnet: true });
    await expect(members.join('h2', rename)).rejects.toMatchObject({ code: 'host_name_in_use' });
    expect(subnetOf(await members.join('h1', rename))).toBe(formatPrefix(subnet));
  });

  it('is no copy of one that is there', async () => {
    const identity = randomUUID();
    await members.join('h1', { identity });
    await expect(members.join('h2', { identity, formerName: 'h1' })).rejects.toMatchObject({
      code: 'host_identity_in_use',
    });
  });

  it('leaves nothing behind either where it wants another subnet', async () => {
    const identity = randomUUID();
    const session = newSession('run');
    members.forget(await members.join('h1', { identity, session }));
    const renamed = await members.join('h2', { identity, session, formerName: 'h1', length: 19 });
    expect(subnetOf(renamed)).toMatch(/\/19$/);
    expect(await members.keys(HOSTS)).toEqual(['hosts/h2']);
  });
});

it('has packets of one size with all others, which the first one says', async () => {
  const first = await members.join('h1', { mtu: 1420 });
  expect(first.membership.epoch).toMatchObject({ number: 0, mtu: 1420 });
  const refused = members.join('h2', { mtu: 1320 });
  await expect(refused).rejects.toMatchObject({ code: 'mtu_too_small' });
  await expect(refused).rejects.toThrow(
    /agreed on packets of 1420 bytes, and this one takes 1320 .*culvert mesh mtu 1320/,
  );
  expect(await members.registry.get('hosts/h2')).toBeUndefined();
  const larger = await members.join('h3', { mtu: 8920 });
  expect(larger.membership.epoch.mtu).toBe(1420);
  // until the last host sends no more, it may be sent the larger ones
  await beginEpoch(members.registry, { mtu: 1320 }, 0);
  await expect(members.join('h2', { mtu: 1320 })).rejects.toThrow(/until the change that is under way is done/);
  await members.registry.commit([], [{ key: EPOCH, value: writeEpoch({ ...firstEpoch(1320), number: 1 }) }]);
  await members.join('h2', { mtu: 1320 });
  // one that was there before is not kept from its sandboxes
  await larger.stop({ keepsSubnet: true });
  const { identity } = larger.membership.host;
  const back = await members.join('h3', { identity, mtu: 1200 });
  expect(back.membership.host.subnet).toEqual(larger.membership.host.subnet);
});

function pairs(prefixes: readonly Prefix[]): [Prefix, Prefix][] {
  return prefixes.flatMap((one, index) => prefixes.slice(index + 1).map((other): [Prefix, Prefix] => [one, other]));
}
