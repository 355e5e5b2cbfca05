import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineProcess } from '../lab/line-process.ts';
import { formatIpv4, parseIpv4 } from '../src/addr/ipv4.ts';
import { parsePrefix } from '../src/addr/prefix.ts';
import { parseSandboxId, type Topology } from '../src/ipam/lease.ts';
import { type GroupName, parseGroupName } from '../src/sandbox/group.ts';
import type { OwnMember } from '../src/sandbox/groups.ts';
import type { Sandbox } from '../src/sandbox/sandbox.ts';
import { LabDaemon } from './support/lab-daemon.ts';
import { CALLER, ECHO } from './support/talk.ts';

/* Who reaches whom on one host by its group, and what the rules keep of those that other hosts tell of. */

const OPEN = { egress: 'open', allow: [], deny: [] } as const;
const NONE = { ...OPEN, egress: 'none' } as const;
const WEB = parseGroupName('web');
const OTHER = parseGroupName('other');
const FAR = parseIpv4('10.64.16.7');

let daemon: LabDaemon;
let told: OwnMember[];

beforeEach(() => {
  told = [];
  daemon = new LabDaemon({ tell: (members) => void told.push(...members) });
});
afterEach(() => daemon[Symbol.dispose]());

type Options = { readonly policy?: Sandbox['policy']; readonly topology?: Topology };

function create(id: string, group?: GroupName, { policy = OPEN, topology = 'netns' }: Options = {}): Sandbox {
  const specification = { topology, rates: {}, policy, ...(group === undefined ? {} : { group }) };
  const [sandbox] = daemon.with((core) => core.create([{ id: parseSandboxId(id), specification }]));
  if (sandbox === undefined) throw new Error('No sandbox was made');
  return sandbox;
}

function reaches(from: Sandbox, to: Sandbox): boolean {
  const ping = ['ping', '-c', '1', '-W', '1', formatIpv4(to.hostAddress)];
  return spawnSync('nsenter', [`--net=${from.netns}`, ...ping]).status === 0;
}

/** The elements of a set of the router's table, as nft(8) shows them. */
function elements(set: string): string[] {
  const noun = set.endsWith('groups') ? 'map' : 'set';
  const text = daemon.lab.run(router(), 'nft', 'list', noun, 'inet', 'culvert', set);
  const [, body = ''] = /elements = \{([^]*?)\}/.exec(text) ?? [];
  return body
    .split(',')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** The pin of the router namespace. */
function router(): string {
  return join(daemon.lab.folder, 'run', 'netns', 'router');
}

const tell = (group: GroupName, isAll: boolean, ...members: [address: string, owner?: string][]): void =>
  daemon.with((core) =>
    core.updateMembers([
      { group, isAll, members: members.map(([address, owner]) => ({ address: parseIpv4(address), owner })) },
    ]),
  );

describe('sandboxes of a host', () => {
  it('reach each other where they are in one group, and nobody else does', () => {
    const [a, b] = [create('a', WEB), create('b', WEB, { policy: NONE })];
    const alone = create('c');
    const other = create('d', OTHER, { policy: { ...OPEN, allow: [parsePrefix('10.11.0.0/16')] } });
    expect([reaches(a, b), reaches(b, a)]).toEqual([true, true]);
    for (const [from, to] of [
      [a, alone],
      [alone, a],
      [other, a],
      [a, other],
    ] as const)
      expect(reaches(from, to)).toBe(false);
    // a policy opens those that are alone, and no group
    expect(reaches(other, alone)).toBe(true);
  });

  it('are cut off from what is established when they leave, whoever began it', async () => {
    const [a, b] = [create('a', WEB), create('b', WEB)];
    for (const leaver of ['b', 'a']) {
      using echo = new LineProcess(b.netns, process.execPath, ['-e', ECHO]);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const port = await echo.line();
      using caller = new LineProcess(a.netns, process.execPath, ['-e', CALLER, formatIpv4(b.hostAddress), port]);
      // oxlint-disable-next-line no-await-in-loop -- likewise
      expect(await caller.line()).toBe('connected');
      daemon.with((core) => core.update(parseSandboxId(leaver), { group: null }));
      // oxlint-disable-next-line no-await-in-loop -- likewise
      expect(await caller.ask('still?')).toBe('no answer');
      daemon.with((core) => core.update(parseSandboxId(leaver), { group: WEB }));
    }
    expect(reaches(a, b)).toBe(true);
  });

  it('are told of, with each change', () => {
    const { hostAddress, generation } = create('a', WEB);
    create('b');
    const a = { id: 'a', generation, address: hostAddress };
    expect(told).toEqual([{ ...a, group: WEB }]);
    daemon.with((core) => core.update(parseSandboxId('a'), { group: OTHER }));
    daemon.with((core) => core.update(parseSandboxId('a'), { policy: NONE }));
    daemon.stop();
    daemon.start();
    daemon.with((core) => core.remove([parseSandboxId('a')]));
    expect(told.slice(1)).toEqual([{ ...a, group: OTHER }, { ...a, group: OTHER }, a]);
  });

  it('are refused a group on the bridge, and one that is another than they have', () => {
    expect(() => create('a', WEB, { topology: 'bridge' })).toThrow(/Cannot put a bridge sandbox into group web/);
    create('b', undefined, { topology: 'bridge' });
    expect(() => daemon.with((core) => core.update(parseSandboxId('b'), { group: WEB }))).toThrow(/bridge sandbox/);
    create('c', WEB);
    expect(() => create('c', OTHER)).toThrow(/it exists with another specification \(group other instead of web\)/);
    expect(daemon.with((core) => core.list().map(({ id, group }) => [id, group]))).toEqual([
      ['b', undefined],
      ['c', WEB],
    ]);
  });
});

describe('those of other hosts', () => {
  it('stand in the rules as they are told of', () => {
    create('a', WEB);
    tell(WEB, true, ['10.64.16.7', 'x on h2'], ['10.64.16.8', 'y on h2']);
    const far = (): string[] => elements('far_groups').map((line) => line.replace(/ : 0x\w+/, ''));
    expect(far()).toHaveLength(2);
    tell(WEB, false, ['10.64.16.8'], ['10.64.16.9', 'z on h3']);
    expect(far().join()).toMatch(/x on h2 in web.*z on h3 in web|z on h3 in web.*x on h2 in web/);
    // one that has come to another group is there, whatever the former one says after
    tell(OTHER, false, ['10.64.16.7', 'x on h2']);
    tell(WEB, false, ['10.64.16.7']);
    expect(far().join()).toContain('x on h2 in other');
    tell(WEB, true);
    tell(OTHER, true);
    expect([far(), elements('far_members')]).toEqual([[], []]);
  });

  it('outlive the daemon where their group does, and what another program does to them is put right', () => {
    create('a', WEB);
    tell(WEB, true, ['10.64.16.7', 'x on h2']);
    tell(OTHER, true, ['10.64.16.8', 'y on h2']);
    const before = [...elements('far_groups'), ...elements('groups')].filter((line) => line.includes('web'));
    daemon.stop();
    daemon.start();
    daemon.stepUntil(() => daemon.with((core) => !core.status().adopting));
    expect([...elements('far_groups'), ...elements('groups')]).toEqual(before);
    expect(daemon.with((core) => core.reconcile({ dryRun: true })).plan).toEqual([]);
    daemon.events.length = 0;
    daemon.lab.run(router(), 'nft', 'delete', 'element', 'inet', 'culvert', 'far_groups', `{ ${formatIpv4(FAR)} }`);
    daemon.lab.run(router(), 'nft', 'add element inet culvert members { 10.11.0.9 . 77 }');
    daemon.eventsOf('host.repaired', 1);
    expect([...elements('far_groups'), ...elements('groups')]).toEqual(before);
    expect(elements('members')).toHaveLength(1);
    daemon.lab.run(router(), 'nft', 'flush', 'ruleset');
    daemon.eventsOf('host.repaired', 2);
    expect([...elements('far_groups'), ...elements('groups')]).toEqual(before);
  });
});
