import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Underlay, type UnderlayHost } from '../../lab/underlay.ts';
import { waitUntil } from '../../lab/wait.ts';
import { addIpv4, formatIpv4 } from '../addr/ipv4.ts';
import { type Prefix, parsePrefix } from '../addr/prefix.ts';
import { Kernel } from '../linux/apply.ts';
import { NetlinkSocket } from '../linux/netlink/socket.ts';
import { UserspaceWireguard } from '../linux/wireguard/userspace.ts';
import { diff } from '../plan/diff.ts';
import { type Link, ROOT, ROUTER } from '../plan/state.ts';
import { type Key, keyOf } from '../plan/wireguard/key.ts';
import { ClearWay } from './clear/way.ts';
import { DevicePeers } from './device-peers.ts';
import { tunnelLink } from './link.ts';
import { Mesh } from './mesh.ts';
import { type MeshPeer, Peers } from './peers.ts';
import { Tunnel } from './tunnel.ts';

/*
 * Two hosts with a router namespace each, and an address of their subnet in it:
 *
 *     router 10.64.0.1 ── wa-main ── h1 eth0 ══ wire ══ eth0 h2 ── wa-main ── router 10.64.16.1
 */

const LINK: Link = tunnelLink('main', 'even');
const PORT = 51_820;
const MTU = 1420;

function keyPair(): { readonly privateKey: Key; readonly publicKey: Key } {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  // the key is the end of what its encodings hold
  return {
    privateKey: keyOf(new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32))),
    publicKey: keyOf(new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32))),
  };
}

/** Waits for what a daemon does not wait for. */
function up(tunnel: Tunnel): Tunnel {
  waitUntil(() => {
    tunnel.advance();
    return !tunnel.isStarting;
  });
  return tunnel;
}

class Host implements Disposable {
  readonly underlay: Underlay;
  readonly place: UnderlayHost;
  readonly keys = keyPair();
  readonly subnet: Prefix;
  readonly kernel: Kernel;
  readonly opened = new DisposableStack();
  tunnel: Tunnel;
  mesh: Mesh;

  constructor(underlay: Underlay, place: UnderlayHost, subnet: string) {
    this.underlay = underlay;
    this.place = place;
    this.subnet = parsePrefix(subnet);
    const pins = join(place.folder, 'netns');
    mkdirSync(pins);
    this.kernel = underlay.inside(place, () => new Kernel(pins, [ROOT, ROUTER]));
    this.inside(() => this.kernel.apply(diff([], [{ kind: 'namespace', namespace: ROUTER }])));
    underlay.run(this.router, 'ip', 'address', 'add', `${formatIpv4(this.address)}/32`, 'dev', 'lo');
    underlay.run(this.router, 'ip', 'link', 'set', 'lo', 'up');
    this.tunnel = this.open();
    this.mesh = this.join();
    this.inside(() => this.mesh.reconcile(Date.now(), { removes: true }));
  }

  get address() {
    return addIpv4(this.subnet.address, 1);
  }

  get router(): string {
    return this.kernel.pin(ROUTER);
  }

  get peer(): MeshPeer {
    const { name, address } = this.place;
    const { subnet, keys } = this;
    return {
      name,
      subnet,
      address,
      clearPort: 51_830,
      isOnLink: true,
      keys: [{ rotation: 0, publicKey: keys.publicKey, port: PORT }],
    };
  }

  open(): Tunnel {
    const parts = { kernel: this.kernel, link: LINK, mtu: MTU, backend: 'userspace' } as const;
    return this.inside(() => up(new Tunnel({ ...parts, folder: join(this.place.folder, 'wireguard') })));
  }

  join(): Mesh {
    const { kernel, tunnel, keys } = this;
    const peers = new Peers(20, this.peer);
    const course = { sends: 'even', acceptsClear: false } as const;
    const links = [{ way: 'even', link: LINK } as const];
    const options = { instance: 'main', range: parsePrefix('10.64.0.0/10'), unit: 20, port: 51_830, mtu: MTU };
    const mesh = this.inside(() => {
      const clear = new ClearWay({ kernel, subnet: this.subnet, ...options });
      this.opened.use(clear);
      return new Mesh({ kernel, peers, links, clear, course });
    });
    const parts = { tunnel, link: LINK, rotation: 0, privateKey: keys.privateKey, listenPort: PORT };
    mesh.setDevice('even', new DevicePeers(parts, []));
    return mesh;
  }

  inside<T>(body: () => T): T {
    return this.underlay.inside(this.place, body);
  }

  know(...others: Host[]): string[] {
    return this.inside(() => this.mesh.update(others.map(({ peer }) => ({ name: peer.name, peer }))));
  }

  ping(other: Host, ...options: string[]): string {
    const target = formatIpv4(other.address);
    return this.underlay.run(this.router, 'ping', '-I', formatIpv4(this.address), '-W', '3', ...options, target);
  }

  [Symbol.dispose](): void {
    this.opened.dispose();
    this.tunnel[Symbol.dispose]();
    this.inside(() => Tunnel.remove({ kernel: this.kernel, link: LINK, folder: join(this.place.folder, 'wireguard') }));
    this.kernel[Symbol.dispose]();
  }
}

const timeout = 60_000;

describe('a mesh of two hosts', { timeout }, () => {
  let opened: DisposableStack;
  let one: Host;
  let other: Host;

  beforeEach(() => {
    opened = new DisposableStack();
    const underlay = opened.use(new Underlay(2));
    const [first, second] = underlay.hosts;
    if (first === undefined || second === undefined) throw new Error('There are two');
    one = opened.use(new Host(underlay, first, '10.64.0.0/20'));
    other = opened.use(new Host(underlay, second, '10.64.16.0/20'));
  });
  afterEach(() => opened.dispose());

  it('joins their subnets, once they know each other', () => {
    expect(one.know(other)).toEqual([
      `wg set wa-main peer ${other.keys.publicKey} endpoint 192.0.2.12:51820 allowed-ips 10.64.16.0/20`,
      'ip -n router route change 10.64.16.0/20 dev wa-main',
    ]);
    other.know(one);
    expect(one.ping(other, '-c', '3')).toContain(' 0% packet loss');
    expect(other.ping(one, '-c', '1', '-M', 'do', '-s', String(MTU - 28))).toContain(' 0% packet loss');
    const { peers } = one.inside(() => one.tunnel.read());
    expect(peers.get(other.keys.publicKey)?.lastHandshakeMs).toBeGreaterThan(0);
  });

  it('says nothing to a device that is as it should be', () => {
    one.know(other);
    expect(one.know(other)).toEqual([]);
    expect(one.inside(() => one.mesh.reconcile(Date.now(), { removes: true }))).toEqual([]);
  });

  it('is told the same a hundred times in a flood of packets, and writes nothing and loses none', async () => {
    one.know(other);
    other.know(one);
    one.ping(other, '-c', '1');
    const seen = (): unknown =>
      [one, other].map((host) => {
        const { peers, ...device } = host.inside(() => host.tunnel.read());
        return [device, [...peers.values()].map(({ received: _in, sent: _out, ...peer }) => peer)];
      });
    const before = seen();
    // what is written passes here, and goes on
    const writes = [
      vi.spyOn(UserspaceWireguard.prototype, 'edit'),
      vi.spyOn(NetlinkSocket.prototype, 'batch'),
      vi.spyOn(NetlinkSocket.prototype, 'transaction'),
    ];
    for (const spy of writes) opened.defer(() => spy.mockRestore());
    const command = ['-f', '-q', '-c', '1000', '-I', formatIpv4(one.address), formatIpv4(other.address)];
    for (let times = 0; times < 100; ) {
      const flood = spawn('nsenter', [`--net=${one.router}`, 'ping', ...command], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(flood, 'close');
      let said = '';
      flood.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      for (; flood.exitCode === null; times++) {
        for (const [host, far] of [
          [one, other],
          [other, one],
        ] as const) {
          expect(host.know(far)).toEqual([]);
          const course = { sends: 'even', acceptsClear: false } as const;
          expect(host.inside(() => host.mesh.steer([[far.place.name, course]]))).toEqual([]);
          expect(host.inside(() => host.mesh.reconcile(Date.now(), { removes: true }))).toEqual([]);
        }
        // oxlint-disable-next-line no-await-in-loop -- whoever floods may end meanwhile
        await turn();
      }
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await ended;
      expect(said).toContain('1000 packets transmitted, 1000 received');
    }
    expect(writes.flatMap(({ mock }) => mock.calls.filter(([all]) => (all as unknown[]).length > 0))).toEqual([]);
    expect(seen()).toEqual(before);
  });

  it('has no way any more to a host that is gone', () => {
    one.know(other);
    const gone = one.inside(() => one.mesh.update([{ name: 'h2', peer: undefined }]));
    expect(gone).toEqual([
      `wg set wa-main peer ${other.keys.publicKey} remove`,
      'ip -n router route delete 10.64.16.0/20 dev wa-main',
    ]);
    expect(one.inside(() => one.tunnel.read()).peers.size).toBe(0);
  });

  it('is put right where others have changed it, without a loss', () => {
    one.know(other);
    other.know(one);
    one.ping(other, '-c', '1');
    one.underlay.run(one.router, 'ip', 'route', 'delete', '10.64.16.0/20');
    one.underlay.run(one.router, 'ip', 'route', 'add', '10.64.32.0/20', 'dev', 'wa-main');
    one.underlay.run(one.router, 'ip', 'link', 'set', 'wa-main', 'mtu', '1400');
    one.inside(() => one.tunnel.edit([{ verb: 'change', peer: { publicKey: other.keys.publicKey, keepalive_s: 7 } }]));
    const before = one.inside(() => one.tunnel.read()).peers.get(other.keys.publicKey)?.lastHandshakeMs;
    const differing = one.inside(() => one.mesh.reconcile(Date.now(), { removes: true, dryRun: true }));
    expect(one.inside(() => one.mesh.reconcile(Date.now(), { removes: true, dryRun: true }))).toEqual(differing);
    const done = one.inside(() => one.mesh.reconcile(Date.now(), { removes: true }));
    expect(done).toEqual(differing);
    expect(done).toEqual([
      'ip -n router link set wa-main mtu 1420',
      `wg set wa-main peer ${other.keys.publicKey} persistent-keepalive off`,
      'ip -n router route delete 10.64.32.0/20 dev wa-main',
      'ip -n router route add 10.64.16.0/20 dev wa-main',
    ]);
    expect(one.inside(() => one.mesh.reconcile(Date.now(), { removes: true }))).toEqual([]);
    expect(one.ping(other, '-c', '1')).toContain(' 0% packet loss');
    expect(one.inside(() => one.tunnel.read()).peers.get(other.keys.publicKey)?.lastHandshakeMs).toBe(before);
  });

  it('outlives who made it, and is taken over as it is', () => {
    one.know(other);
    other.know(one);
    one.ping(other, '-c', '1');
    const before = one.inside(() => one.tunnel.read());
    one.tunnel[Symbol.dispose]();
    one.tunnel = one.open();
    one.mesh = one.join();
    expect(one.inside(() => one.tunnel.read())).toEqual(before);
    expect(one.ping(other, '-c', '1')).toContain(' 0% packet loss');
    one.know(other);
    expect(one.inside(() => one.mesh.reconcile(Date.now(), { removes: true }))).toEqual([]);
  });

  it('keeps what it does not know while it may remember less than it knew', () => {
    one.know(other);
    one.mesh = one.join();
    expect(one.inside(() => one.mesh.reconcile(Date.now(), { removes: false }))).toEqual([]);
    expect(one.inside(() => one.mesh.reconcile(Date.now(), { removes: true }))).toEqual([
      `wg set wa-main peer ${other.keys.publicKey} remove`,
      'ip -n router route delete 10.64.16.0/20 dev wa-main',
    ]);
  });

  it('is made anew where its program has died, and the other host finds it again', () => {
    one.know(other);
    other.know(one);
    one.ping(other, '-c', '1');
    expect(one.tunnel.isAlive).toBe(true);
    one.underlay.run(one.router, 'ip', 'link', 'delete', 'wa-main');
    for (const deadline = performance.now() + 5000; one.tunnel.isAlive && performance.now() < deadline; );
    expect(one.tunnel.isAlive).toBe(false);
    one.inside(() => {
      one.tunnel.revive();
      expect(one.tunnel.isAlive).toBe(false);
      up(one.tunnel);
      one.mesh.reconcile(Date.now(), { removes: true });
    });
    expect(one.ping(other, '-c', '1', '-w', '20')).toContain(' 0% packet loss');
  });

  it('is made anew also where that has failed at first', () => {
    one.know(other);
    one.underlay.run(one.router, 'ip', 'link', 'delete', 'wa-main');
    for (const deadline = performance.now() + 5000; one.tunnel.isAlive && performance.now() < deadline; );
    const path = process.env['PATH'];
    try {
      process.env['PATH'] = '/nowhere';
      for (let attempt = 0; attempt < 3; attempt++) {
        one.inside(() => one.tunnel.revive());
        expect(() => one.inside(() => up(one.tunnel))).toThrow(expect.objectContaining({ code: 'wireguard_failed' }));
        expect([one.tunnel.isAlive, one.tunnel.isStarting]).toEqual([false, false]);
        expect(() => one.tunnel.read()).toThrow(expect.objectContaining({ code: 'wireguard_away' }));
      }
    } finally {
      process.env['PATH'] = path;
    }
    one.inside(() => {
      one.tunnel.revive();
      up(one.tunnel);
    });
    expect(one.tunnel.isAlive).toBe(true);
    one.inside(() => one.mesh.reconcile(Date.now(), { removes: true }));
    expect([...one.inside(() => one.tunnel.read()).peers.keys()]).toEqual([other.keys.publicKey]);
  });

  it('is not waited for where its program does not start, which is ended in its time', async () => {
    const folder = join(one.place.folder, 'slow');
    mkdirSync(folder);
    writeFileSync(join(folder, 'unshare'), '#!/bin/sh\nexec sleep 1000\n', { mode: 0o755 });
    const path = process.env['PATH'];
    one.underlay.run(one.router, 'ip', 'link', 'delete', 'wa-main');
    try {
      process.env['PATH'] = `${folder}:${path}`;
      one.inside(() => one.tunnel.revive());
    } finally {
      process.env['PATH'] = path;
    }
    const sleeping = (): string[] => readdirSync('/proc').filter((pid) => isSleepingChild(pid));
    await expect.poll(sleeping).toHaveLength(1);
    // it is looked after again and again, and everything else goes on
    for (let look = 0; look < 100; look++) one.inside(() => one.tunnel.advance());
    expect(one.tunnel.isStarting).toBe(true);
    expect(one.know(other)).toEqual([]);
    one.inside(() => one.tunnel.revive());
    await expect.poll(sleeping).toEqual([]);
    one.inside(() => {
      up(one.tunnel);
      one.mesh.reconcile(Date.now(), { removes: true });
    });
    expect([...one.inside(() => one.tunnel.read()).peers.keys()]).toEqual([other.keys.publicKey]);
  });

  it('has every peer but one that is refused', () => {
    const keys = [{ rotation: 0, publicKey: keyPair().publicKey, port: 70_000 }];
    const nowhere = { ...other.peer, keys, name: 'h3', subnet: parsePrefix('10.64.32.0/20') };
    const all = [nowhere, other.peer].map((peer) => ({ name: peer.name, peer }));
    expect(() => one.inside(() => one.mesh.update(all))).toThrow(
      expect.objectContaining({ code: 'wireguard_refused' }),
    );
    expect([...one.inside(() => one.tunnel.read()).peers.keys()]).toContain(other.keys.publicKey);
  });
});

/** One that has ended, and is not waited for yet, sleeps no more. */
function isSleepingChild(pid: string): boolean {
  try {
    return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/stat`, 'utf8').includes(`(sleep) S ${process.pid} `);
  } catch {
    // it has ended meanwhile
    return false;
  }
}
