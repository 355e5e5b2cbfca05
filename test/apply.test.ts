import { describe, expect, it } from 'vitest';
import { NETWORKS } from '../lab/networks.ts';
import { World } from '../lab/world.ts';
import { parseIpv4 } from '../src/addr/ipv4.ts';
import { ApplyError } from '../src/linux/plan-run.ts';
import { diff } from '../src/plan/diff.ts';
import { ROUTER } from '../src/plan/state.ts';
import { planText } from '../src/plan/text.ts';
import { bridgeItself } from '../src/sandbox/topology/bridge.ts';
import { desired } from '../src/sandbox/topology/desired.ts';
import { BRIDGE } from '../src/sandbox/topology/layout.ts';
import type { Network } from '../src/sandbox/topology/network.ts';

/*
 *   router namespace ── cable or bridge port ── sandbox namespace ── tap0 (microvm)
 */
describe.each(NETWORKS)('a $topology network in the kernel', (network) => {
  const namespace = `s${network.slot}`;

  it('is what iproute2 sees, and is gone when removed', () => {
    using world = new World();
    const objects = desired(network, world.layout);
    world.kernel.apply(diff([], objects));
    for (const object of objects) {
      const dev = 'link' in object ? object.link.name : '';
      if (object.kind === 'veth') {
        // the kernel says so at once, and of its `operstate` when it has time
        const flags: unknown = expect.arrayContaining(['UP', 'LOWER_UP']);
        const eth0 = { ifname: 'eth0', ifindex: 2, mtu: 1420, flags };
        expect(world.ask(namespace, 'ip', '-j', 'link')).toContainEqual(expect.objectContaining(eth0));
      }
      if (object.kind === 'tap') {
        const tap0 = { ifname: 'tap0', ifindex: 3, mtu: 1420, address: '02:fc:00:00:00:05', txqlen: 5000 };
        expect(world.ask(namespace, 'ip', '-j', 'link')).toContainEqual(expect.objectContaining(tap0));
      }
      if (object.kind === 'shaper') {
        const options: unknown = expect.objectContaining({
          rate: object.rate,
          burst: expect.closeTo(object.burst, -3),
        });
        expect(world.ask(object.namespace, 'tc', '-j', 'qdisc', 'show', 'dev', dev)).toContainEqual(
          expect.objectContaining({ kind: 'tbf', options }),
        );
      }
      if (object.kind === 'forwarding') {
        expect(world.ask(object.namespace, 'ip', '-j', 'netconf', 'show', 'dev', dev)).toContainEqual(
          expect.objectContaining({ family: 'inet', forwarding: true }),
        );
      }
      if (object.kind === 'neighbour') {
        expect(JSON.stringify(world.ask(object.namespace, 'ip', '-j', 'neigh', 'show', 'dev', dev))).toContain(
          'PERMANENT',
        );
      }
    }
    world.kernel.apply(diff(objects, []));
    expect(world.namespaces()).toEqual([ROUTER]);
  });

  it('is read back as it was described, and repaired where it was changed', () => {
    using world = new World();
    const objects = desired(network, world.layout);
    world.kernel.apply(diff([], objects));
    const wanted = [{ kind: 'namespace', namespace: ROUTER } as const, ...bridgeItself(world.layout), ...objects];
    const drift = (): ReturnType<typeof diff> => diff(world.observe(objects, ROUTER, namespace), wanted);
    expect(planText(drift())).toBe('');
    world.run(namespace, 'ip', 'route', 'del', 'default');
    world.run(namespace, 'ip', 'link', 'set', 'eth0', 'mtu', '1300');
    world.run(namespace, 'ip', 'addr', 'add', '10.99.0.1/24', 'dev', 'eth0');
    const repair = drift();
    expect(planText(repair)).toMatch(/address delete 10.99.0.1.*link change.*route add default/s);
    world.kernel.apply(repair);
    expect(planText(drift())).toBe('');
  });

  it('leaves nothing behind when its last step fails', () => {
    using world = new World();
    const before = world.run(ROUTER, 'ip', 'route');
    const plan = diff([], desired(network, world.layout));
    // the same link once more: EEXIST, after everything else was done
    const again = plan.find((step) => step.object.kind === 'veth');
    if (again === undefined) throw new Error('the plan has no veth');
    expect(() => world.kernel.apply([...plan, again])).toThrow(ApplyError);
    expect(world.namespaces()).toEqual([ROUTER]);
    // whether the bridge has a carrier follows with a delay
    expect(world.run(ROUTER, 'ip', 'route').replace('linkdown ', '')).toBe(before.replace('linkdown ', ''));
  });
});

it('knows every port of the bridge, its own and others', () => {
  using world = new World();
  const network: Network = { topology: 'bridge', slot: 3, rates: {}, address: parseIpv4('10.8.64.7') };
  expect(world.kernel.ports(ROUTER, BRIDGE)).toEqual([]);
  world.kernel.apply(diff([], desired(network, world.layout)));
  world.run(ROUTER, 'ip', 'link', 'add', 'stranger', 'type', 'veth', 'peer', 'name', 'behind');
  world.run(ROUTER, 'ip', 'link', 'set', 'stranger', 'master', BRIDGE.name);
  const seen = world.ask(ROUTER, 'ip', '-j', 'link', 'show', 'master', BRIDGE.name) as { ifindex: number }[];
  expect(seen).toHaveLength(2);
  const found = world.kernel.ports(ROUTER, BRIDGE);
  expect(found.map(({ link, isRunning }) => [link.name, isRunning])).toEqual([
    ['stranger', false],
    ['s3', true],
  ]);
  expect(found.map(({ link }) => link.index)).toEqual(seen.map(({ ifindex }) => ifindex));
  expect(world.ask(ROUTER, 'bridge', '-j', '-d', 'link', 'show', 'dev', 's3')).toEqual([
    expect.objectContaining({ isolated: true, learning: false, neigh_suppress: true }),
  ]);
});

it('reaches the sandbox from the router', () => {
  using world = new World();
  const network: Network = { topology: 'netns', slot: 5, rates: {} };
  world.kernel.apply(diff([], desired(network, world.layout)));
  // an unnumbered router has no address of its own to ask from
  world.run(ROUTER, 'ip', 'link', 'set', 'lo', 'up');
  world.run(ROUTER, 'ip', 'address', 'add', '10.12.0.10/32', 'dev', 'lo');
  expect(world.run(ROUTER, 'ping', '-c1', '-W2', '-I', '10.12.0.10', '10.11.0.5')).toContain('1 received');
});
