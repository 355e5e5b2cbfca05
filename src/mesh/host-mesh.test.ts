import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Underlay, type UnderlayHost } from '../../lab/underlay.ts';
import { waitUntil } from '../../lab/wait.ts';
import { parseIpv4 } from '../addr/ipv4.ts';
import { parsePrefix } from '../addr/prefix.ts';
import { Kernel } from '../linux/apply.ts';
import { diff } from '../plan/diff.ts';
import { ROOT, ROUTER } from '../plan/state.ts';
import { keyOf } from '../plan/wireguard/key.ts';
import { HostMesh } from './host-mesh.ts';

const KEY = keyOf(new Uint8Array(32).fill(7));
const PEER = {
  name: 'h2',
  subnet: parsePrefix('10.64.16.0/20'),
  address: parseIpv4('192.0.2.12'),
  clearPort: 51_830,
  isOnLink: true,
  keys: [{ rotation: 0, publicKey: KEY, port: 51_820 }],
};

describe('a host in a mesh', { timeout: 60_000 }, () => {
  let opened: DisposableStack;
  let underlay: Underlay;
  let place: UnderlayHost;
  let mesh: HostMesh;
  /** of the clock that it is told */
  let nowMs = 0;

  beforeEach(() => {
    opened = new DisposableStack();
    underlay = opened.use(new Underlay(1));
    const [only] = underlay.hosts;
    if (only === undefined) throw new Error('There is one');
    place = only;
    const pins = join(place.folder, 'netns');
    mkdirSync(pins);
    const keyFile = join(place.folder, 'key');
    writeFileSync(keyFile, `${Buffer.alloc(32, 9).toString('base64')}\n`, { mode: 0o600 });
    mesh = inside(() => {
      const kernel = opened.use(new Kernel(pins, [ROOT, ROUTER]));
      kernel.apply(diff([], [{ kind: 'namespace', namespace: ROUTER }]));
      const options = {
        name: 'h1',
        subnet: parsePrefix('10.64.0.0/20'),
        range: parsePrefix('10.64.0.0/10'),
        unit: 20,
        tunnels: [{ rotation: 0, keyFile, port: 51_820 }],
        clearPort: 51_830,
        backend: 'userspace',
        folder: join(place.folder, 'wireguard'),
        known: [PEER],
      } as const;
      return new HostMesh(options, { kernel, instance: 'main', mtu: 1420 });
    });
    opened.defer(() => inside(() => mesh.remove()));
  });
  afterEach(() => opened.dispose());

  function inside<T>(body: () => T): T {
    return underlay.inside(place, body);
  }

  /** As a daemon does, again and again; and no sooner than it wants to. */
  function step(): void {
    nowMs += 10_000;
    inside(() => mesh.step(nowMs, () => undefined));
  }

  it('says what passes as far as its device is there, which starts, does not start, and dies', () => {
    const keysHeard = (): string[] => inside(() => mesh.traffic()).map(({ publicKey }) => publicKey);
    const path = process.env['PATH'];
    expect(keysHeard()).toEqual([]);
    try {
      process.env['PATH'] = '/nowhere';
      const steps = (): void =>
        waitUntil(() => {
          step();
          return false;
        });
      expect(steps).toThrow(expect.objectContaining({ code: 'wireguard_failed' }));
      expect(keysHeard()).toEqual([]);
    } finally {
      process.env['PATH'] = path;
    }
    waitUntil(() => {
      step();
      return keysHeard().length > 0;
    });
    expect(keysHeard()).toEqual([KEY]);
    inside(() => underlay.run(join(place.folder, 'netns', ROUTER), 'ip', 'link', 'delete', 'wa-main'));
    waitUntil(() => keysHeard().length === 0);
    waitUntil(() => {
      step();
      return keysHeard().length > 0;
    });
  });
});
