import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HandClock } from '../../../lab/hand-clock.ts';
import { formatIpv4, type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import { parsePrefix, prefixHas } from '../../addr/prefix.ts';
import { EmbeddedRegistry } from '../../cluster/embedded/registry.ts';
import type { Lease } from '../../cluster/registry.ts';
import { type Generation, parseSandboxId } from '../../ipam/lease.ts';
import { type GroupName, parseGroupName } from '../../sandbox/group.ts';
import type { MemberNews } from '../../sandbox/groups.ts';
import { Directory } from '../groups/directory.ts';
import { Memberships } from './memberships.ts';

/* Two hosts with a registry between them: 10.64.0.0/20 is h1's, 10.64.16.0/20 is h2's. */

const WEB = parseGroupName('web');
const OTHER = parseGroupName('other');
const SUBNETS = { h1: parsePrefix('10.64.0.0/20'), h2: parsePrefix('10.64.16.0/20') };
const PATIENCE = { timeout: 10_000, interval: 10 };

/** A host's part, with what its engine was told last of each address. */
class Side {
  readonly told = new Map<string, string>();
  readonly news: MemberNews[] = [];
  readonly directory = new Directory();
  readonly memberships: Memberships;
  lease: Lease | undefined;
  trouble: Error | undefined;
  known: Partial<typeof SUBNETS> = SUBNETS;

  constructor(host: keyof typeof SUBNETS, knowsHosts = true) {
    this.memberships = new Memberships({
      registry,
      host,
      lease: () => this.lease,
      isOf: (name, address) => {
        const subnet = this.known[name as keyof typeof SUBNETS];
        return subnet !== undefined && prefixHas(subnet, address);
      },
      directory: this.directory,
      tell: async (news) => {
        if (this.trouble !== undefined) throw this.trouble;
        this.news.push(...news);
        for (const one of news) this.#take(one);
      },
    });
    if (knowsHosts) this.memberships.hostsKnown();
  }

  #take({ group, isAll, members }: MemberNews): void {
    if (isAll) for (const [address, text] of this.told) if (text.endsWith(` in ${group}`)) this.told.delete(address);
    for (const { address, owner } of members) {
      if (owner === undefined) this.told.delete(formatIpv4(address));
      else this.told.set(formatIpv4(address), `${owner} in ${group}`);
    }
  }

  own(id: string, address: string, group?: GroupName, generation = 1): void {
    const member = { id: parseSandboxId(id), address: parseIpv4(address), generation: generation as Generation };
    this.memberships.takeOwn([group === undefined ? member : { ...member, group }]);
  }
}

let folder: string;
let clock: HandClock;
let registry: EmbeddedRegistry;
let h1: Side;
let h2: Side;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-memberships-'));
  clock = new HandClock();
  registry = new EmbeddedRegistry(join(folder, 'registry.sqlite'), clock);
  [h1, h2] = [new Side('h1'), new Side('h2')];
  h1.lease = await registry.grant(10_000);
  h2.lease = await registry.grant(10_000);
});
afterEach(async () => {
  await Promise.all([h1, h2].map(({ memberships }) => memberships.stop({ keeps: false })));
  await registry[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const keys = async (): Promise<string[]> => (await registry.list('members/')).entries.map(({ key }) => key);
const told = (side: Side): Record<string, string> => Object.fromEntries(side.told);

it('tells others of its own, and hears of theirs in the same groups', async () => {
  h1.own('a', '10.64.0.1', WEB);
  h2.own('b', '10.64.16.1', WEB);
  h2.own('c', '10.64.16.2', OTHER);
  await expect.poll(() => told(h1), PATIENCE).toEqual({ '10.64.16.1': 'b on h2 in web' });
  await expect.poll(() => told(h2), PATIENCE).toEqual({ '10.64.0.1': 'a on h1 in web' });
  expect(h1.directory.addressesOf(WEB, 'b')).toEqual([parseIpv4('10.64.16.1')]);
  h2.own('b', '10.64.16.1', OTHER);
  await expect.poll(() => told(h1), PATIENCE).toEqual({});
  expect(h1.directory.addressesOf(WEB, 'b')).toEqual([]);
  h2.own('b', '10.64.16.1');
  h2.own('c', '10.64.16.2');
  await expect.poll(keys, PATIENCE).toEqual(['members/web/h1/a']);
  expect(told(h2)).toEqual({});
});

it('writes what it could not when it can, and all of it under another lease', async () => {
  const { lease } = h2;
  h2.lease = undefined;
  h1.own('a', '10.64.0.1', WEB);
  h2.own('b', '10.64.16.1', WEB);
  await expect.poll(() => told(h2), PATIENCE).toEqual({ '10.64.0.1': 'a on h1 in web' });
  expect(told(h1)).toEqual({});
  h2.lease = lease;
  h2.memberships.leased();
  await expect.poll(() => told(h1), PATIENCE).toEqual({ '10.64.16.1': 'b on h2 in web' });
  await lease?.revoke();
  await expect.poll(() => told(h1), PATIENCE).toEqual({});
  // it does not know yet that its lease is lost, and says that it could not write
  h2.own('c', '10.64.16.2', WEB);
  await expect.poll(() => h2.memberships.problems(), PATIENCE).toMatchObject([{ code: 'groups_behind' }]);
  h2.lease = await registry.grant(10_000);
  h2.memberships.leased();
  await expect.poll(() => Object.values(told(h1)).toSorted(), PATIENCE).toEqual(['b on h2 in web', 'c on h2 in web']);
  expect(h2.memberships.problems()).toEqual([]);
});

it('believes no address that is not its host’s, and of two that claim one the later life', async () => {
  h1.own('a', '10.64.0.1', WEB);
  h2.own('b', '10.64.0.7', WEB);
  h2.own('c', '10.64.16.3', WEB, 5);
  // it was to be gone, and its host could not say so
  h2.own('d', '10.64.16.3', WEB, 4);
  await expect.poll(() => told(h1), PATIENCE).toEqual({ '10.64.16.3': 'c on h2 in web' });
  h2.own('d', '10.64.16.3');
  await expect.poll(keys, PATIENCE).toHaveLength(3);
  expect(told(h1)).toEqual({ '10.64.16.3': 'c on h2 in web' });
  h1.known = { h1: SUBNETS.h1 };
  h1.memberships.hostChanged('h2');
  await expect.poll(() => told(h1), PATIENCE).toEqual({});
  h1.known = { h2: parsePrefix('10.64.0.0/19') };
  h1.memberships.hostChanged('h2');
  await expect.poll(() => Object.values(told(h1)).toSorted(), PATIENCE).toEqual(['b on h2 in web', 'c on h2 in web']);
});

it('tells again what was not taken, as it is then', async () => {
  h1.trouble = new Error('the kernel is busy');
  h1.own('a', '10.64.0.1', WEB);
  h2.own('b', '10.64.16.1', WEB);
  await expect
    .poll(() => h1.memberships.problems(), PATIENCE)
    .toMatchObject([{ code: 'groups_behind', message: expect.stringContaining('the kernel is busy') }]);
  h2.own('b', '10.64.16.1');
  h2.own('c', '10.64.16.2', WEB);
  h1.trouble = undefined;
  await expect.poll(() => told(h1), PATIENCE).toEqual({ '10.64.16.2': 'c on h2 in web' });
  expect(h1.memberships.problems()).toEqual([]);
});

it('leaves its own known for as long as they may live without it', async () => {
  h1.own('a', '10.64.0.1', WEB);
  await expect.poll(keys, PATIENCE).toHaveLength(1);
  await h1.memberships.stop({ keeps: true });
  await h1.lease?.revoke();
  expect(await keys()).toEqual(['members/web/h1/a']);
  clock.monotonic += 31 * 24 * 3600 * 1000;
  expect(await keys()).toEqual([]);
});

it('says one thing once, however many there are', async () => {
  h1.own('a', '10.64.0.1', WEB);
  await expect.poll(() => h1.news.length, PATIENCE).toBe(1);
  const addresses = Array.from({ length: 200 }, (_, index) => `10.64.16.${index + 1}` as const);
  for (const [index, address] of addresses.entries()) h2.own(`b${index}`, address, WEB);
  await expect.poll(() => h1.told.size, PATIENCE).toBe(200);
  const said = h1.news.flatMap(({ members }) => members.map(({ address }): Ipv4 => address));
  expect(new Set(said).size).toBe(said.length);
});

it('says nothing before it knows the hosts: what an earlier run has left may be right', async () => {
  h2.own('b', '10.64.16.1', WEB);
  await expect.poll(keys, PATIENCE).toHaveLength(1);
  const late = new Side('h1', false);
  late.own('a', '10.64.0.1', WEB);
  await new Promise((resolve) => void setTimeout(resolve, 200));
  expect([late.news, late.directory.isWhole(WEB)]).toEqual([[], false]);
  late.memberships.hostsKnown();
  await expect.poll(() => told(late), PATIENCE).toEqual({ '10.64.16.1': 'b on h2 in web' });
  expect(late.directory.isWhole(WEB)).toBe(true);
  await late.memberships.stop({ keeps: false });
});
