import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LabHost, OUTSIDE_ADDRESS } from '../lab/host.ts';
import { parsePrefix } from '../src/addr/prefix.ts';
import { systemClock } from '../src/clock.ts';
import type { Core } from '../src/daemon/core.ts';
import { claim } from '../src/ipam/allocator.ts';
import { parseSandboxId, parseSlot } from '../src/ipam/lease.ts';
import { openStore } from '../src/ipam/store.ts';
import { NamespaceHandle } from '../src/linux/namespace.ts';
import { umount } from '../src/linux/syscall.ts';
import type { Sandbox } from '../src/sandbox/sandbox.ts';
import { createSandbox, LAB, openCore, pause_ms, settle } from './support/lab-core.ts';

/*
 * What a daemon finds that was not as it should be: it takes over first and looks after, so what comes in between must
 * not rely on what it has not looked at yet.
 */

const A = parseSandboxId('a');
const B = parseSandboxId('b');
const CLOSED = { egress: 'none', allow: [], deny: [] } as const;
const MNT_DETACH = 2;

let lab: LabHost;
let inside: NamespaceHandle;
let sandbox: Sandbox;
let events: string[];

beforeEach(() => {
  lab = new LabHost();
  inside = new NamespaceHandle(lab.pin('host'));
  events = [];
  withCore((core) => {
    createSandbox(core, 'a', 'netns');
    sandbox = core.inspect(A);
  });
});

afterEach(() => {
  inside[Symbol.dispose]();
  lab[Symbol.dispose]();
});

function withCore<T>(body: (core: Core) => T, options: Parameters<typeof openCore>[1] = {}): T {
  return inside.run(() => {
    using core = openCore(lab.folder, { emit: ({ type }) => void events.push(type), ...options });
    return body(core);
  });
}

function nft(...command: string[]): string {
  return lab.run(`${lab.folder}/run/netns/router`, 'nft', ...command);
}

function expectWhole(core: Core): void {
  settle(core);
  expect(core.reconcile({ dryRun: true })).toEqual({ plan: [], applied: false });
  expect(core.status().problems).toEqual([]);
}

it('looks after all without changing anything where all is as it should be', () => {
  withCore(expectWhole);
  expect(events).toEqual(['sandbox.created']);
});

it('puts back elements that are missing, and takes away those of nobody', () => {
  nft('flush', 'map', 'inet', 'culvert', 'outbound');
  nft('add', 'element', 'inet', 'culvert', 'inbound', '{ "uplink" . 10.11.0.77 : 10.11.0.77 }');
  withCore(expectWhole);
  expect(events).toContain('host.repaired');
  expect(lab.run(sandbox.netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
  expect(nft('list', 'map', 'inet', 'culvert', 'inbound')).not.toContain('10.11.0.77');
});

it('removes at once what it has not looked at, and gives its slot away whole', () => {
  nft('flush', 'map', 'inet', 'culvert', 'outbound');
  withCore((core) => {
    core.remove([A]);
    expectWhole(core);
    expect(nft('list', 'map', 'inet', 'culvert', 'inbound')).not.toContain('generation');
    createSandbox(core, 'a', 'netns');
    expectWhole(core);
  });
});

it('changes at once what it has not looked at', () => {
  nft('flush', 'map', 'inet', 'culvert', 'outbound');
  withCore((core) => {
    core.update(A, { policy: { egress: 'none' } });
    expectWhole(core);
  });
  expect(() => lab.run(sandbox.netns, 'ping', '-c1', '-W1', OUTSIDE_ADDRESS)).toThrow();
});

it.each([
  ['a chain without its rules', 'flush', 'chain', 'inet', 'culvert', 'prerouting'],
  ['a table without rules', 'flush', 'table', 'inet', 'culvert'],
  ['a policy without its rules', 'flush', 'chain', 'inet', 'culvert', 'egress-1'],
  ['a policy that opens nothing', 'flush', 'set', 'inet', 'culvert', 'egress-1'],
  ['a rule that another put there', 'insert', 'rule', 'inet', 'culvert', 'prerouting', 'accept'],
  ['a constant that is missing', 'flush', 'set', 'bridge', 'culvert', 'icmp_errors'],
  ['a chain that accepts what none decides', 'chain', 'inet', 'culvert', 'forward', '{ policy accept; }'],
  ['a policy that opens more', 'add', 'element', 'inet', 'culvert', 'egress-1', '{ 10.11.0.0-10.11.0.255 }'],
  ['been put to sleep', 'add', 'table', 'inet', 'culvert', '{ flags dormant; }'],
])('makes the router’s tables anew that have %s', (_, ...change) => {
  withCore(settle);
  const rules = (): string[] => nft('-s', 'list', 'ruleset').split('\n').toSorted();
  const before = rules();
  nft(...change);
  expect(rules()).not.toEqual(before);
  events.length = 0;
  withCore(expectWhole);
  expect(rules()).toEqual(before);
  expect(events).toContain('host.repaired');
});

it('keeps no policy that nobody has and that it has not made itself', () => {
  const policies = (): string[] => nft('list', 'chains', 'inet').match(/egress-\d+/g) ?? [];
  withCore((core) => {
    core.create([{ id: B, specification: { topology: 'netns', rates: {}, policy: CLOSED } }]);
    settle(core);
    core.remove([B]);
    nft('insert', 'rule', 'inet', 'culvert', 'egress-2', 'accept');
  });
  expect(policies()).toEqual(['egress-1', 'egress-2']);
  withCore((core) => {
    expectWhole(core);
    expect(policies()).toEqual(['egress-1']);
    core.create([{ id: B, specification: { topology: 'netns', rates: {}, policy: CLOSED } }]);
    const { netns } = core.inspect(B);
    expect(() => lab.run(netns, 'ping', '-c1', '-W1', OUTSIDE_ADDRESS)).toThrow();
    // one of its own that is idle is looked into
    core.remove([B]);
    nft('insert', 'rule', 'inet', 'culvert', policies().at(-1) ?? '', 'accept');
    expect(core.reconcile({ dryRun: true }).plan).toContain('replace the tables of the router');
  });
});

it('puts a guard back whose rules are gone', () => {
  withCore((core) => {
    createSandbox(core, 'b', 'microvm');
    settle(core);
    const { netns } = core.inspect(parseSandboxId('b'));
    const guard = (): string => lab.run(netns, 'nft', '-s', 'list', 'ruleset');
    const before = guard();
    lab.run(netns, 'nft', 'flush', 'table', 'netdev', 'culvert');
    expect(core.reconcile({ dryRun: true }).plan).toHaveLength(1);
    core.reconcile({ dryRun: false });
    expect(guard()).toBe(before);
  });
});

it.each([
  ['a rule', ['flush', 'chain', 'inet', 'culvert', 'prerouting']],
  ['all rules', ['flush', 'ruleset']],
  ['an element', ['flush', 'map', 'inet', 'culvert', 'outbound']],
])('puts back %s that somebody takes out of a running daemon’s tables', (_, change) => {
  withCore((core) => {
    settle(core);
    nft(...change);
    pause_ms(150);
    core.step();
    expect(events).toContain('host.repaired');
    expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
    expect(lab.run(sandbox.netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
    // what it does itself is no change by others
    events.length = 0;
    createSandbox(core, 'b', 'netns');
    core.remove([B]);
    pause_ms(150);
    settle(core);
    expect(events).not.toContain('host.repaired');
  });
});

it('hands out no warm network that somebody has broken', () => {
  inside.run(() => {
    using core = openCore(lab.folder, { poolSizes: { microvm: 0, netns: 3, bridge: 0 } });
    for (let step = 0; core.status().warm.netns < 3 && step < 5000; step++) {
      core.step();
      pause_ms(1);
    }
    const pins = core
      .leases()
      .filter(({ state }) => state === 'warm')
      .map(({ slot }) => `s${slot}`);
    const [unpinned = '', unlinked = '', good = ''] = pins;
    umount(join(lab.folder, 'run', 'netns', unpinned), MNT_DETACH);
    lab.run(join(lab.folder, 'run', 'netns', unlinked), 'ip', 'link', 'delete', 'eth0');
    createSandbox(core, 'b', 'netns');
    const { netns } = core.inspect(B);
    expect(netns.endsWith(`/${good}`)).toBe(true);
    expect(lab.run(netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
    core.purge();
  });
});

it('tells of a running daemon’s tables what is not as it should be', () => {
  withCore((core) => {
    settle(core);
    nft('flush', 'chain', 'inet', 'culvert', 'prerouting');
    expect(core.reconcile({ dryRun: true }).plan).toContain('replace the tables of the router');
    core.reconcile({ dryRun: false });
    expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
  });
  expect(lab.run(sandbox.netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
});

it('starts where the policies’ names are gone and the policies are not', () => {
  nft('flush', 'map', 'inet', 'culvert', 'policies');
  withCore(expectWhole);
  expect(lab.run(sandbox.netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
});

it('lets pass at once what is asked for again, before it has looked at it', () => {
  nft('flush', 'map', 'inet', 'culvert', 'outbound');
  withCore((core) => {
    createSandbox(core, 'a', 'netns');
    expect(lab.run(sandbox.netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
  });
});

it('builds a network anew whose namespace is gone, be its pin there or not', () => {
  umount(sandbox.netns, MNT_DETACH);
  withCore(expectWhole);
  expect(events).toContain('sandbox.repaired');
  expect(lab.run(sandbox.netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
});

it('puts right what of a network was changed, inside and outside', () => {
  lab.run(sandbox.netns, 'ip', 'route', 'del', 'default');
  lab.run(`${lab.folder}/run/netns/router`, 'ip', 'link', 'set', `s${sandbox.slot}`, 'mtu', '1300');
  withCore(expectWhole);
  expect(events.filter((type) => type === 'sandbox.repaired')).toHaveLength(1);
  expect(lab.run(sandbox.netns, 'ping', '-c1', '-W2', OUTSIDE_ADDRESS)).toContain(' 0% packet loss');
});

it('removes cables, routes and neighbours of nobody', () => {
  const router = `${lab.folder}/run/netns/router`;
  lab.run(router, 'ip', 'link', 'add', 's900', 'index', '10900', 'type', 'veth', 'peer', 'name', 'stray');
  lab.run(router, 'ip', 'link', 'set', 's900', 'up');
  lab.run(router, 'ip', 'route', 'add', '10.11.3.132/32', 'dev', 's900');
  lab.run(
    router,
    'ip',
    'neighbour',
    'add',
    '10.8.64.9',
    'lladdr',
    '02:00:00:00:00:09',
    'dev',
    'rt0',
    'nud',
    'permanent',
  );
  withCore(expectWhole);
  expect(lab.run(router, 'ip', '-br', 'link')).not.toContain('s900');
  expect(lab.run(router, 'ip', 'neighbour')).not.toContain('10.8.64.9');
});

it('says what it cannot verify, frees nothing meanwhile, and goes on when it can', () => {
  withCore((core) => {
    nft('delete', 'table', 'inet', 'culvert');
    core.step();
    expect(core.status()).toMatchObject({ adopting: true, problems: [{ code: 'adoption_failed' }] });
    core.reconcile({ dryRun: false });
    expectWhole(core);
  });
});

it('holds a slot that it could not cut off until it could', () => {
  withCore((core) => {
    settle(core);
    nft('flush', 'map', 'inet', 'culvert', 'outbound');
    expect(() => core.remove([A])).toThrow(/ENOENT/);
    expect(core.status()).toMatchObject({ removing: 1, problems: [{ code: 'cut_off_failed' }] });
    expectWhole(core);
    expect(core.leases()).toEqual([]);
    expect(nft('list', 'map', 'inet', 'culvert', 'inbound')).not.toContain('generation');
  });
  expect(events.filter((type) => type === 'sandbox.removed')).toHaveLength(1);
});

it('gives up a creation that it cannot finish, and is there for all others', () => {
  {
    using store = openStore(join(lab.folder, 'state', 'leases.sqlite'), systemClock());
    claim(store, [{ topology: 'netns' }], { first: parseSlot(7), last: parseSlot(7) });
  }
  const router = `${lab.folder}/run/netns/router`;
  lab.run(router, 'ip', 'link', 'add', 's7', 'index', '10007', 'type', 'veth', 'peer', 'name', 'stray');
  withCore((core) => {
    expect(events).toContain('daemon.problem');
    expect(core.list().map(({ id }) => id)).toEqual([A]);
    expectWhole(core);
    expect(core.leases()).toMatchObject([{ slot: sandbox.slot, state: 'ready' }]);
  });
  expect(lab.run(router, 'ip', '-br', 'link')).not.toContain('stray');
});

it('says of a sandbox what it has, also where a change of it has failed', () => {
  withCore((core) => {
    settle(core);
    lab.run(`${lab.folder}/run/netns/router`, 'ip', 'link', 'delete', `s${sandbox.slot}`);
    const rates = { receive: { rate: 5_000_000, burst: 100_000 } };
    expect(() => core.update(A, { rates })).toThrow(/ENODEV/);
    expect(core.inspect(A).rates).toEqual(sandbox.rates);
    // the same again is no change that is done already
    expect(() => core.update(A, { rates })).toThrow(/ENODEV/);
  });
});

it('hands out no warm network with an address of a range that is no more the host’s', () => {
  const poolSizes = { microvm: 2, netns: 2, bridge: 2 };
  const layout = { ...LAB.layout, hostRange: parsePrefix('10.99.0.0/16') };
  const warm = (core: Core): number => core.leases().filter(({ state }) => state === 'warm').length;
  withCore(
    (core) => {
      core.remove([A]);
      while (warm(core) < 6) {
        core.step();
        pause_ms(1);
      }
    },
    { poolSizes },
  );
  withCore(
    (core) => {
      // those on the bridge have their addresses of another range
      expect(core.status()).toMatchObject({ warm: { microvm: 0, netns: 0, bridge: 2 }, removing: 4 });
      createSandbox(core, 'b', 'netns');
      expect(core.inspect(B).hostAddress).toBe(layout.hostRange.address + core.inspect(B).slot);
      expectWhole(core);
      expect(lab.run('host', 'ip', 'address')).not.toContain('10.11.');
      expect(lab.run('host', 'ip', 'route')).not.toContain('10.11.');
      expect(lab.run(`${lab.folder}/run/netns/router`, 'ip', 'route')).not.toContain('10.11.');
    },
    { host: { ...LAB, layout } },
  );
});
