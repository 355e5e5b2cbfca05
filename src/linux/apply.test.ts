import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseIpv4 } from '../addr/ipv4.ts';
import { diff } from '../plan/diff.ts';
import { ROUTER } from '../plan/state.ts';
import { bridgeItself } from '../sandbox/topology/bridge.ts';
import { desired, type Network } from '../sandbox/topology/desired.ts';
import { DEFAULT_LAYOUT } from '../sandbox/topology/layout.ts';
import { ApplyError, Kernel } from './apply.ts';
import { removeNamespace } from './namespace.ts';

const layout = { ...DEFAULT_LAYOUT, mtu: 1420 };
const rates = { transmit: { rate: 200_000_000, burst: 100_000_000 }, receive: { rate: 1_000_000, burst: 65_536 } };
const networks: Network[] = [
  { topology: 'microvm', slot: 12, rates },
  { topology: 'netns', slot: 32_767, rates },
  { topology: 'bridge', slot: 3, rates, address: parseIpv4('10.8.64.7') },
];

let folder: string;
let kernel: Kernel;

/** What ip(8) or tc(8) says inside the namespace behind a pin. */
function ask(namespace: string, ...command: string[]): unknown {
  const text = execFileSync('nsenter', [`--net=${kernel.pin(namespace)}`, ...command], { encoding: 'utf8' });
  return JSON.parse(text === '' ? '[]' : text);
}

/** The router's routes; whether the bridge has a carrier follows with a delay and is left out. */
function routes(): string[] {
  const lines = execFileSync('nsenter', [`--net=${kernel.pin(ROUTER)}`, 'ip', 'route'], { encoding: 'utf8' });
  return lines.split('\n').map((line) => line.replace(' linkdown', '').trimEnd());
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-apply-'));
  mkdirSync(join(folder, 'netns'));
  kernel = new Kernel(join(folder, 'netns'), [ROUTER]);
  kernel.apply(diff([], [{ kind: 'namespace', namespace: ROUTER }, ...bridgeItself(layout)]));
});

afterAll(() => {
  kernel[Symbol.dispose]();
  for (const name of readdirSync(join(folder, 'netns'))) removeNamespace(join(folder, 'netns', name));
  rmSync(folder, { recursive: true });
});

describe.each(networks)('a $topology network in the kernel', (network) => {
  const objects = desired(network, layout);
  const namespace = `s${network.slot}`;

  it('is what iproute2 sees, and is gone when removed', () => {
    kernel.apply(diff([], objects));
    expect(ask(namespace, 'ip', '-j', 'link')).toContainEqual(
      expect.objectContaining({ ifname: 'eth0', ifindex: 2, mtu: 1420, operstate: 'UP' }),
    );
    for (const object of objects) {
      if (object.kind === 'shaper') {
        expect(ask(object.namespace, 'tc', '-j', 'qdisc', 'show', 'dev', object.link.name)).toContainEqual(
          expect.objectContaining({
            kind: 'tbf',
            options: expect.objectContaining({ rate: object.rate, burst: expect.closeTo(object.burst, -3) }),
          }),
        );
      }
      if (object.kind === 'forwarding') {
        expect(ask(object.namespace, 'ip', '-j', 'netconf', 'show', 'dev', object.link.name)).toContainEqual(
          expect.objectContaining({ family: 'inet', forwarding: true }),
        );
      }
      if (object.kind === 'neighbour') {
        expect(JSON.stringify(ask(object.namespace, 'ip', '-j', 'neigh', 'show', 'dev', object.link.name))).toContain(
          'PERMANENT',
        );
      }
    }
    kernel.apply(diff(objects, []));
    expect(readdirSync(join(folder, 'netns'))).not.toContain(namespace);
  });

  it('leaves nothing behind when its last step fails', () => {
    const before = routes();
    const last = diff([], objects);
    // the same link once more: EEXIST, after everything else was done
    const again = last.find((step) => step.object.kind === 'veth');
    if (again === undefined) throw new Error('the plan has no veth');
    expect(() => kernel.apply([...last, again])).toThrow(ApplyError);
    expect(readdirSync(join(folder, 'netns'))).not.toContain(namespace);
    expect(routes()).toEqual(before);
  });
});

it('reaches the sandbox from the router and back', () => {
  const [, network] = networks;
  if (network === undefined) throw new Error('no network');
  const objects = desired({ ...network, slot: 5, rates: {} }, layout);
  kernel.apply(diff([], objects));
  try {
    const ping = execFileSync('nsenter', [`--net=${kernel.pin(ROUTER)}`, 'ping', '-c1', '-W2', '10.11.0.5'], {
      encoding: 'utf8',
    });
    expect(ping).toContain('1 received');
  } finally {
    kernel.apply(diff(objects, []));
  }
});
