import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addIpv4, formatIpv4, type Ipv4, parseIpv4 } from '../src/addr/ipv4.ts';
import { createNamespace, NamespaceHandle } from '../src/linux/namespace.ts';
import { umount } from '../src/linux/syscall.ts';
import { writeSysctl } from '../src/linux/sysctl.ts';

/** linux/fs.h */
const MNT_DETACH = 2;

/** RFC 5737 TEST-NET-1 and TEST-NET-2 */
const NEAR: Segment = { bridge: 'br0', gateway: '192.0.2.1', first: parseIpv4('192.0.2.11') };
const FAR: Segment = { bridge: 'br1', gateway: '198.51.100.1', first: parseIpv4('198.51.100.11') };

type Segment = { readonly bridge: string; readonly gateway: string; readonly first: Ipv4 };

export type UnderlayHost = {
  readonly name: string;
  /** the pin of its root namespace */
  readonly pin: string;
  readonly address: Ipv4;
  /** for what its daemon keeps */
  readonly folder: string;
};

/**
 * Hosts on one network, and some behind a router:
 *
 *     h1 eth0 192.0.2.11/24 ───┐
 *     h2 eth0 192.0.2.12/24 ───┤ br0 192.0.2.1     in a namespace of its own, everybody's gateway
 *     h3 eth0 192.0.2.13/24 ───┘  │
 *                                 │
 *     h4 eth0 198.51.100.11/24 ── br1 198.51.100.1
 *
 * All of it is gone when it is disposed of; processes in it are whoever's who started them.
 */
export class Underlay implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'culvert-underlay-'));
  /** The pin of the namespace that has everybody's other end, a link of each host's name. */
  readonly wire = join(this.folder, 'wire');
  readonly hosts: readonly UnderlayHost[];

  /**
   * @param count of hosts, all together
   * @param options how many of them, the last ones, are behind the router
   */
  constructor(count: number, { far = 0 }: { readonly far?: number } = {}) {
    this.#make(this.wire);
    for (const segment of far > 0 ? [NEAR, FAR] : [NEAR]) this.#lay(segment);
    this.run(this.wire, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    const near = count - far;
    this.hosts = Array.from({ length: count }, (_, index) => {
      const [segment, place] = index < near ? [NEAR, index] : [FAR, index - near];
      return this.#host(`h${index + 1}`, segment, addIpv4(segment.first, place));
    });
  }

  /** Runs `body` with this thread in the host's root namespace; only what is synchronous stays inside. */
  inside<T>(host: UnderlayHost, body: () => T): T {
    using handle = new NamespaceHandle(host.pin);
    return handle.run(body);
  }

  /** Runs a command where the wire is, and returns what it prints. */
  onWire(...command: string[]): string {
    return this.run(this.wire, ...command);
  }

  /** Runs a command in a namespace and returns what it prints. */
  run(pin: string, ...command: string[]): string {
    return execFileSync('nsenter', [`--net=${pin}`, ...command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Pulls a host's cable. */
  cut({ name }: UnderlayHost): void {
    this.#ip(this.wire, 'link', 'set', name, 'down');
  }

  /** Puts it in again. */
  join({ name }: UnderlayHost): void {
    this.#ip(this.wire, 'link', 'set', name, 'up');
  }

  [Symbol.dispose](): void {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '');
    // the last mounted comes first
    for (const path of mounts.filter((one) => one.startsWith(`${this.folder}/`)).toReversed()) umount(path, MNT_DETACH);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #lay({ bridge, gateway }: Segment): void {
    this.#ip(this.wire, 'link', 'add', bridge, 'type', 'bridge');
    this.#ip(this.wire, 'link', 'set', bridge, 'up');
    this.#ip(this.wire, 'address', 'add', `${gateway}/24`, 'dev', bridge);
  }

  #host(name: string, { bridge, gateway }: Segment, address: Ipv4): UnderlayHost {
    const folder = join(this.folder, name);
    mkdirSync(folder);
    const pin = join(folder, 'root');
    this.#make(pin);
    this.#ip(this.wire, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pin);
    this.#ip(this.wire, 'link', 'set', name, 'master', bridge, 'up');
    this.#ip(pin, 'link', 'set', 'lo', 'up');
    this.#ip(pin, 'address', 'add', `${formatIpv4(address)}/24`, 'dev', 'eth0');
    this.#ip(pin, 'link', 'set', 'eth0', 'up');
    this.#ip(pin, 'route', 'add', 'default', 'via', gateway);
    return { name, pin, address, folder };
  }

  #make(pin: string): void {
    createNamespace(pin, () => {
      // addresses that come and go by themselves would be differences to whoever compares
      for (const which of ['all', 'default']) writeSysctl(`net/ipv6/conf/${which}/disable_ipv6`, '1');
    });
  }

  #ip(pin: string, ...parameters: string[]): void {
    this.run(pin, 'ip', ...parameters);
  }
}
