import { closeSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { World } from '../lab/world.ts';
import { parseIpv4 } from '../src/addr/ipv4.ts';
import { parseSandboxId, parseSlot } from '../src/ipam/lease.ts';
import { deleteLink } from '../src/linux/route/link.ts';
import { diff } from '../src/plan/diff.ts';
import { ROUTER } from '../src/plan/state.ts';
import { Crew } from '../src/sandbox/crew/crew.ts';
import type { Helper } from '../src/sandbox/crew/helper.ts';
import type { Job } from '../src/sandbox/crew/job.ts';
import { desired } from '../src/sandbox/topology/desired.ts';
import { cable } from '../src/sandbox/topology/layout.ts';
import type { Network } from '../src/sandbox/topology/network.ts';
import { pause_ms } from './support/lab-core.ts';
import { LabDaemon } from './support/lab-daemon.ts';

const timeout = 60_000;

const bridgeAddress = parseIpv4('10.8.64.2');

/** So many, of all topologies. */
function networks(count: number): Network[] {
  return Array.from({ length: count }, (_, index): Network => {
    const slot = index + 1;
    if (index % 3 === 2) return { topology: 'bridge', slot, rates: {}, address: parseIpv4(`10.8.64.${slot + 1}`) };
    return { topology: index % 3 === 0 ? 'microvm' : 'netns', slot, rates: {} };
  });
}

/** A helper that does nothing by itself. */
function standIn(give: Helper['give']): Pick<Helper, keyof Helper> {
  const nothing = (): undefined => undefined;
  const quiet = { resize: nothing, keepApart: nothing, failures: () => [].values() as never };
  return { give, done: 0, ...quiet, [Symbol.dispose]: nothing };
}

function waitUntil(isSo: () => boolean): void {
  for (let waited = 0; !isSo(); waited++) {
    if (waited === 20_000) throw new Error('It did not come to pass');
    pause_ms(1);
  }
}

describe('a crew', { timeout }, () => {
  let world: World;
  let crew: Crew;

  /** Hires a helper and waits until it works. */
  const hire = (): void => {
    crew.hire();
    const first = crew.begin('compare', networks(1));
    waitUntil(() => crew.advance(first, 1));
  };

  beforeEach(() => {
    world = new World();
    crew = new Crew({ kernel: world.kernel, layout: world.layout });
  });
  afterEach(() => {
    crew[Symbol.dispose]();
    world[Symbol.dispose]();
  });

  /** What the kernel has, against what it should have of these. */
  const missing = (wanted: readonly Network[]): unknown[] => {
    const objects = wanted.flatMap((network) => desired(network, world.layout));
    const names = wanted.map(({ slot }) => `s${slot}`);
    const keys = new Set(objects.map(({ kind, namespace }) => `${namespace} ${kind}`));
    const seen = world
      .observe(objects, ROUTER, ...names)
      .filter(({ kind, namespace }) => keys.has(`${namespace} ${kind}`));
    return diff(seen, objects).filter(({ verb }) => verb !== 'delete');
  };

  it('has a helper that builds, compares and clears with nobody beside it', () => {
    crew.hire();
    const all = networks(9);
    const build = crew.begin('build', all);
    waitUntil(() => crew.advance(build, 9));
    expect(all.map((_, index) => build.outcome(index))).toEqual(all.map(() => 'done'));
    expect(missing(all)).toEqual([]);
    world.run('s1', 'ip', 'address', 'add', '10.0.0.1/32', 'dev', 'eth0');
    world.run('s2', 'ip', 'route', 'delete', 'default');
    world.kernel.withSocket(ROUTER, (socket) => socket.batch([deleteLink(cable(3))]));
    world.kernel.withSocket(ROUTER, (socket) => socket.batch([deleteLink(cable(4))]));
    world.run(ROUTER, 'ip', 'link', 'set', 's5', 'mtu', '1400');
    world.run(ROUTER, 'bridge', 'link', 'set', 'dev', 's6', 'isolated', 'off');
    const compare = crew.begin('compare', [...all, { topology: 'netns', slot: 60, rates: {} }]);
    waitUntil(() => crew.advance(compare, 9));
    const different = Array.from({ length: 10 }, (_, index) => compare.outcome(index));
    expect(different).toEqual([...Array.from({ length: 6 }, () => 'differs'), 'done', 'done', 'done', 'differs']);
    const clear = crew.begin('clear', all);
    waitUntil(() => crew.advance(clear, 9));
    expect(world.namespaces()).toEqual([ROUTER]);
  });

  it.each([true, false])('builds all of many together (helped: %s)', (isHelped) => {
    if (isHelped) hire();
    const all = networks(30);
    crew.build(all);
    expect(missing(all)).toEqual([]);
    const compare = crew.carryOut('compare', all);
    expect(all.every((_, index) => compare.outcome(index) === 'done')).toBe(true);
    crew.carryOut('clear', all);
    expect(world.namespaces()).toEqual([ROUTER]);
  });

  it.each([true, false])('says why one could not be built, and clears what was (helped: %s)', (isHelped) => {
    if (isHelped) hire();
    const all = networks(12);
    closeSync(openSync(world.kernel.pin('s4'), 'wx'));
    expect(() => crew.build(all)).toThrow(/^Cannot apply "ip netns add s4": .*EEXIST/);
    // nothing is left of it that its slot does not name, so whoever has the lease can clear it away
    crew.carryOut('clear', all);
    expect(world.namespaces()).toEqual([ROUTER]);
  });

  it('goes on alone when the helper is lost, and says so', () => {
    let lose: ((reason: string) => void) | undefined;
    let stolen: Job | undefined;
    crew.hire((_pins, _layout, lost) => {
      lose = lost;
      return standIn(({ job }) => {
        stolen = job;
        job.take();
      });
    });
    const batch = crew.begin('build', networks(3));
    expect(crew.join(batch, 9)).toBe(true);
    expect(crew.join(batch, 9)).toBe(false);
    expect([0, 1, 2].map((index) => batch.outcome(index))).toEqual(['pending', 'done', 'done']);
    lose?.('it was taken ill');
    expect(crew.advance(batch, 1)).toBe(true);
    expect(batch.outcome(0)).toBe('failed');
    expect(batch.failure).toMatchObject({ code: 'helper_lost', message: expect.stringContaining('taken ill') });
    expect(stolen).toBe(batch.job);
    expect(crew.loss).toBe('it was taken ill');
    crew.build([{ topology: 'bridge', slot: 40, rates: {}, address: bridgeAddress }]);
    expect(world.namespaces()).toContain('s40');
  });

  it('gives the helper what was begun before there was one, and the most urgent first', () => {
    const given: unknown[] = [];
    const compare = crew.begin('compare', networks(2));
    crew.hire(() => standIn(({ task, networks: { length } }, urgency) => void given.push([task, length, urgency])));
    crew.begin('build', []);
    crew.carryOut('compare', networks(1));
    crew.carryOut('compare', networks(2));
    expect(given).toEqual([
      ['compare', 2, 0],
      ['build', 0, 1],
      ['compare', 2, 2],
    ]);
    crew.finish(compare);
  });

  it('does not go on where the helper has something in hand and does not come back', () => {
    const reasons: string[] = [];
    const ended = new Error('the process ends here');
    using impatient = new Crew({
      kernel: world.kernel,
      layout: world.layout,
      stuck: (reason) => {
        reasons.push(reason);
        throw ended;
      },
    });
    let taken: Job | undefined;
    impatient.hire(() =>
      standIn(({ job }) => {
        taken = job;
        job.take();
      }),
    );
    expect(() => impatient.build(networks(2))).toThrow(ended);
    expect(reasons).toEqual(['Cannot go on: the kernel thread’s helper has been at one network for 10 s']);
    // the other one is built and is there: nothing was given up that may still happen
    expect(world.namespaces()).toContain('s2');
    taken?.settle(0, 'skipped');
  });

  it('can be let go before the helper has begun', () => {
    crew.hire();
    const batch = crew.begin('build', networks(3));
    crew[Symbol.dispose]();
    expect(batch.isOver).toBe(true);
  });
});

describe('a daemon with a helper', { timeout }, () => {
  let daemon: LabDaemon;

  beforeEach(() => {
    daemon = new LabDaemon({ poolSizes: { microvm: 4, netns: 8, bridge: 2 }, quarantineFloor_ms: 1 });
    daemon.with((core) => core.hire());
    // it works when the pool is filled by another thread than this one
    daemon.stepUntil(isFull);
  });
  afterEach(() => daemon[Symbol.dispose]());

  const isFull = (): boolean => {
    const { microvm, netns, bridge } = status().warm;
    return microvm === 4 && netns === 8 && bridge === 2;
  };

  const plan = (): readonly string[] => daemon.with((core) => core.reconcile({ dryRun: true }).plan);
  const status = (): ReturnType<Parameters<Parameters<LabDaemon['with']>[0]>[0]['status']> =>
    daemon.with((core) => core.status());

  it('fills its pool, hands out of it, and clears up after', () => {
    expect(plan()).toEqual([]);
    const ids = Array.from({ length: 20 }, (_, index) => `a${index}`);
    for (const id of ids) daemon.create(id, 'netns');
    daemon.with((core) => core.remove(ids.map((id) => parseSandboxId(id))));
    daemon.stepUntil(() => isFull() && status().removing + status().quarantined === 0);
    expect(plan()).toEqual([]);
    expect(daemon.problems()).toEqual([]);
  });

  it('makes all of one request, or none', () => {
    const specification = { topology: 'netns', rates: {}, policy: { egress: 'open', allow: [], deny: [] } } as const;
    const order = (count: number): unknown =>
      daemon.with((core) => core.create(Array.from({ length: count }, () => ({ specification }))));
    expect(order(30)).toHaveLength(30);
    expect(() => order(60)).toThrow(/^Cannot claim/);
    expect(plan()).toEqual([]);
    expect(status().live.netns).toBe(30);
  });

  it('is purged while the helper builds and clears', () => {
    const isBusy = (): boolean => {
      const { removing, freeSlots, quarantined, warm } = status();
      const building = 64 - freeSlots - removing - quarantined - warm.microvm - warm.netns - warm.bridge;
      return removing > 0 && building > 0;
    };
    // the helper may be done before it is seen at work
    for (let round = 0; !isBusy(); round++) {
      expect(round).toBeLessThan(50);
      daemon.stepUntil(() => isFull() && status().removing === 0);
      const ids = Array.from({ length: 20 }, (_, index) => parseSandboxId(`a${round}-${index}`));
      for (const id of ids) daemon.create(id, 'netns');
      daemon.with((core) => core.remove(ids));
      // longer than removals wait for each other
      pause_ms(50);
      daemon.with((core) => {
        core.step();
        core.step();
      });
    }
    daemon.with((core) => core.purge());
    const left = daemon.lab.run('host', 'ip', '-br', 'link');
    expect(left.split('\n').filter((line) => line !== '' && !/^(lo|eth0)/.test(line))).toEqual([]);
    expect(status().live).toEqual({ microvm: 0, netns: 0, bridge: 0 });
    expect(() => daemon.create('late', 'netns')).toThrow();
    expect(readdirSync(join(daemon.lab.folder, 'run', 'netns'))).toEqual([]);
  });

  it('verifies with it what it takes over, and repairs that', () => {
    for (let index = 0; index < 12; index++) daemon.create(`a${index}`, index % 2 === 0 ? 'microvm' : 'netns');
    daemon.stop();
    const pins = join(daemon.lab.folder, 'run', 'netns');
    daemon.lab.run(join(pins, 's3'), 'ip', 'route', 'delete', 'default');
    daemon.lab.run(join(pins, 'router'), 'ip', 'route', 'delete', '10.11.0.5/32');
    daemon.start();
    daemon.with((core) => core.hire());
    daemon.stepUntil(() => !status().adopting);
    const repaired = daemon.eventsOf('sandbox.repaired', 2).map(({ slot }) => slot);
    expect(new Set(repaired)).toEqual(new Set([3, 5]));
    expect(plan()).toEqual([]);
  });
});

describe('a pool', { timeout }, () => {
  it.each([true, false])('goes on being filled after a network that could not be built (helped: %s)', (isHelped) => {
    using daemon = new LabDaemon({ poolSizes: { microvm: 0, netns: 4, bridge: 0 }, quarantineFloor_ms: 1 });
    if (isHelped) daemon.with((core) => core.hire());
    closeSync(openSync(join(daemon.lab.folder, 'run', 'netns', 's1'), 'wx'));
    const failures: unknown[] = [];
    const leases = new Set<number>();
    const isFull = (): boolean => daemon.with((core) => core.status().warm.netns) === 4;
    daemon.stepUntil(isFull, (error) => {
      failures.push(error);
      for (const { slot } of daemon.with((core) => core.leases())) leases.add(slot);
    });
    expect(failures).toMatchObject([
      { code: 'apply_failed', message: expect.stringMatching(/"ip netns add s1".*EEXIST/) },
    ]);
    // no more than were begun with it
    expect(leases.size).toBeLessThanOrEqual(4);
    daemon.stepUntil(() => daemon.with((core) => core.status().removing + core.status().quarantined) === 0);
    expect(daemon.with((core) => core.reconcile({ dryRun: true }).plan)).toEqual([]);
    expect(daemon.problems()).toEqual([]);
  });

  it('is filled as far as the slots go, and asks again when one is free', () => {
    const slots = { first: parseSlot(1), last: parseSlot(5) };
    using daemon = new LabDaemon({ poolSizes: { microvm: 8, netns: 2, bridge: 2 }, slots, quarantineFloor_ms: 1 });
    const warm = (): number =>
      daemon.with((core) => Object.values(core.status().warm).reduce((sum, count) => sum + count));
    daemon.create('a', 'netns');
    daemon.stepUntil(() => warm() === 4);
    daemon.with((core) => core.step());
    expect(daemon.with((core) => core.status().freeSlots)).toBe(0);
    daemon.with((core) => core.remove([parseSandboxId('a')]));
    daemon.stepUntil(() => warm() === 5);
    expect(daemon.problems()).toEqual([]);
  });
});
