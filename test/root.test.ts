import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { HOST_ADDRESS, OUTSIDE_ADDRESS } from '../lab/host.ts';
import { parsePrefix } from '../src/addr/prefix.ts';
import type { Core } from '../src/daemon/core.ts';
import type { EgressPolicy } from '../src/sandbox/policy/policy.ts';
import { DEFAULT_LAYOUT } from '../src/sandbox/topology/layout.ts';
import { openCore, pause_ms, settle } from './support/lab-core.ts';
import { a1, create, OPEN, useRootHost } from './support/root-host.ts';

/* What a daemon has in the root namespace of a host that is others' too. */

const host = useRootHost();

/** Everything that others would notice. */
function rootState(): Record<string, unknown> {
  const json = (...command: string[]): unknown => JSON.parse(host.lab.run('host', ...command));
  return {
    links: json('ip', '-j', 'link'),
    addresses: json('ip', '-j', 'address'),
    routes: json('ip', '-j', 'route', 'show', 'table', 'all'),
    neighbours: (json('ip', '-j', 'neighbour') as { dst: string }[]).filter(({ dst }) => dst !== OUTSIDE_ADDRESS),
    rules: host.lab.run('host', 'nft', 'list', 'ruleset'),
    settings: host.lab.run('host', 'sh', '-c', 'grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward'),
  };
}

describe('a chain of others that drops what is forwarded', () => {
  const chain = ['ip', 'filter', 'FORWARD'];

  beforeEach(() => {
    host.lab.run('host', 'nft', 'add', 'table', 'ip', 'filter');
    host.lab.run('host', 'nft', 'add', 'chain', ...chain, '{ type filter hook forward priority 0; policy drop; }');
  });

  it('lets sandboxes pass, and again after the rules were flushed', () => {
    host.withCore((core, events) => {
      const { netns } = create(core);
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      host.lab.run('host', 'nft', 'flush', 'chain', ...chain);
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(false);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([
        'insert rule "culvert-lab from sandboxes" into chain FORWARD of table ip filter',
        'insert rule "culvert-lab to sandboxes" into chain FORWARD of table ip filter',
      ]);
      pause_ms(5_100);
      core.step();
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(events.filter((event) => event.startsWith('host.repaired'))).toHaveLength(1);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
    });
  });

  it('is left as it is where it is a tunnel’s kill switch', () => {
    const table = 'inet culvert_kill_vpn';
    host.lab.run(
      'host',
      'nft',
      `add table ${table}; add chain ${table} forward { type filter hook forward priority 400; policy drop; }`,
    );
    host.withCore((core) => {
      const { netns } = create(core);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
      expect(host.lab.run('host', 'nft', 'list', 'table', ...table.split(' '))).not.toContain('culvert-lab');
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(false);
    });
  });

  it.each([
    ['a chain without rules', 'flush', 'chain', 'inet', 'culvert-lab', 'input'],
    ['a range that is missing', 'flush', 'set', 'inet', 'culvert-lab', 'ranges'],
    ['been put to sleep', 'add', 'table', 'inet', 'culvert-lab', '{ flags dormant; }'],
  ])('has its own table put back, which has %s', (_, ...change) => {
    host.withCore((core, events) => {
      create(core);
      const rules = (): string => host.lab.run('host', 'nft', '-s', 'list', 'table', 'inet', 'culvert-lab');
      const before = rules();
      host.lab.run('host', 'nft', ...change);
      expect(core.reconcile({ dryRun: true }).plan).toEqual(['replace table inet culvert-lab']);
      pause_ms(150);
      core.step();
      expect(rules()).toBe(before);
      expect(events.filter((event) => event.startsWith('host.repaired'))).toHaveLength(1);
    });
  });

  it('has its own rules only when Culvert has gone', () => {
    const before = rootState();
    host.withCore((core) => {
      create(core);
      core.purge();
    });
    expect(rootState()).toEqual(before);
  });
});

describe('the root namespace', () => {
  it('is as before when Culvert has gone, also in a later run', () => {
    const before = rootState();
    host.withCore((core) => create(core));
    expect(rootState()).not.toEqual(before);
    host.withCore((core) => core.purge());
    expect(rootState()).toEqual(before);
  });

  /** Another daemon beside the one of {@link withCore}. */
  function openOther(): Core {
    const ranges = {
      hostRange: parsePrefix('10.21.0.0/16'),
      linkRange: parsePrefix('10.22.0.0/16'),
      bridgeRange: parsePrefix('10.23.64.0/24'),
    };
    const layout = { ...DEFAULT_LAYOUT, mtu: 1420, ...ranges };
    return openCore(host.lab.folder, {
      host: { instance: 'other', layout, uplink: 'eth0', inbound: [] },
      stateDir: join(host.lab.folder, 'other-state'),
      runDir: join(host.lab.folder, 'other-run'),
    });
  }

  it('keeps what another daemon needs when the first of two goes', () => {
    host.withCore((core) => {
      using other = openOther();
      const { netns } = create(other);
      create(core);
      core.purge();
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(other.reconcile({ dryRun: true }).plan).toEqual([]);
    });
  });

  it.each([
    ['first', (one: Core, other: Core): Core[] => [one, other]],
    ['last', (one: Core, other: Core): Core[] => [other, one]],
  ])('is as before when two daemons have gone, the one that came first %s', (_, inOrder) => {
    host.lab.run('host', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding');
    const before = rootState();
    host.withCore((core) => {
      using other = openOther();
      const [first, last] = inOrder(core, other);
      first?.purge();
      expect(rootState()).not.toEqual(before);
      last?.purge();
    });
    expect(rootState()).toEqual(before);
    // what was put back once is nobody's any more
    host.lab.run('host', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding');
    const after = rootState();
    host.withCore((core) => core.purge());
    expect(rootState()).toEqual(after);
  });

  it.each([
    ['a table', ['nft', 'delete', 'table', 'inet', 'culvert-lab']],
    ['the cable', ['ip', 'link', 'delete', 'cv-lab']],
    ['a route', ['ip', 'route', 'delete', '10.11.0.0/16']],
    ['a setting', ['sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding']],
  ])('gets %s back that somebody took away', (_, command) => {
    host.withCore((core) => {
      const policy: EgressPolicy = { ...OPEN, allow: [parsePrefix(`${HOST_ADDRESS}/32`)] };
      const { netns } = create(core, policy);
      host.lab.run('host', ...command);
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(false);
      expect(core.reconcile({ dryRun: false }).plan).not.toEqual([]);
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(host.answers(netns, HOST_ADDRESS)).toBe(true);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
    });
  });
});

describe('a host whose uplink goes away', () => {
  const goAway = (): void => {
    host.lab.run('host', 'ip', 'link', 'set', 'eth0', 'down');
    host.lab.run('host', 'ip', 'link', 'set', 'eth0', 'name', 'away');
  };
  const comeBack = (): void => {
    host.lab.run('host', 'ip', 'link', 'set', 'away', 'name', 'eth0');
    host.lab.run('host', 'ip', 'link', 'set', 'eth0', 'up');
    host.lab.run('host', 'ip', 'route', 'add', 'default', 'via', OUTSIDE_ADDRESS);
    host.lab.run('host', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding');
  };
  const problems = (core: Core): string[] => core.status().problems.map(({ code }) => code);

  it('is guarded all the same, and a daemon that starts takes over what runs', () => {
    const { netns } = host.withCore((core) => {
      const sandbox = create(core);
      goAway();
      host.lab.run('host', 'nft', 'delete', 'table', 'inet', 'culvert-lab');
      pause_ms(5_100);
      core.step();
      expect(problems(core)).toEqual(['no_uplink']);
      expect(host.answers(sandbox.netns, '10.11.0.0')).toBe(false);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
      return sandbox;
    });
    host.withCore((core) => {
      settle(core);
      expect(core.list().map(({ id }) => id)).toEqual([a1]);
      expect(problems(core)).toEqual(['no_uplink']);
      comeBack();
      pause_ms(5_100);
      core.step();
      expect(problems(core)).toEqual([]);
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(true);
    });
  });
});
