import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNamespace } from '../src/linux/namespace.ts';
import { umount } from '../src/linux/syscall.ts';
import { writeSysctl } from '../src/linux/sysctl.ts';
import { waitUntil } from './wait.ts';

/** RFC 5737 TEST-NET-1 */
export const OUTSIDE_ADDRESS = '192.0.2.1';
export const HOST_ADDRESS = '192.0.2.2';

/** linux/fs.h */
const MNT_DETACH = 2;

/**
 * A host of its own on this machine, with an outside:
 *
 *     outside namespace                 host namespace (its root)
 *     192.0.2.1/24 eth0 ─────────────── eth0 192.0.2.2/24, default route
 *
 * What runs in it runs as a process of its own. Everything is gone when it is disposed of; processes started with
 * {@link spawn} are ended then.
 */
export class LabHost implements Disposable {
  readonly folder: string;
  readonly #processes = new Set<ChildProcess>();

  constructor({ uplinkMtu = 1500 }: { readonly uplinkMtu?: number } = {}) {
    this.folder = mkdtempSync(join(tmpdir(), 'culvert-lab-'));
    mkdirSync(join(this.folder, 'lab'));
    for (const name of ['host', 'outside']) {
      createNamespace(this.pin(name), () => {
        // addresses that come and go by themselves would be differences to whoever compares
        for (const which of ['all', 'default']) writeSysctl(`net/ipv6/conf/${which}/disable_ipv6`, '1');
      });
    }
    const mtu = String(uplinkMtu);
    const outside = this.pin('outside');
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'mtu', mtu, 'netns', outside];
    this.run('host', 'ip', 'link', 'add', 'eth0', 'mtu', mtu, ...peer);
    for (const [name, address] of [
      ['host', HOST_ADDRESS],
      ['outside', OUTSIDE_ADDRESS],
    ] as const) {
      this.run(name, 'ip', 'link', 'set', 'lo', 'up');
      this.run(name, 'ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
      this.run(name, 'ip', 'link', 'set', 'eth0', 'up');
    }
    this.run('host', 'ip', 'route', 'add', 'default', 'via', OUTSIDE_ADDRESS);
    for (const name of ['host', 'outside'])
      waitUntil(() => this.run(name, 'ip', 'link', 'show', 'eth0').includes('state UP'));
  }

  /** The path of a namespace by its name here, or as it is where it is a path. */
  pin(where: string): string {
    return where.startsWith('/') ? where : join(this.folder, 'lab', where);
  }

  /** Runs a command inside, and returns what it prints. */
  run(where: string, ...command: string[]): string {
    return execFileSync('nsenter', [`--net=${this.pin(where)}`, ...command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 64 * 1024 * 1024,
    });
  }

  /** Starts a process inside that ends with the host, and with this process, however this one ends. */
  spawn(where: string, command: string, ...parameters: string[]): ChildProcess {
    const wrapped = [`--net=${this.pin(where)}`, 'setpriv', '--pdeathsig', 'KILL', command, ...parameters];
    const child = spawn('nsenter', wrapped, {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#processes.add(child);
    child.once('exit', () => this.#processes.delete(child));
    return child;
  }

  [Symbol.dispose](): void {
    for (const child of this.#processes) child.kill('SIGKILL');
    for (const path of mountsUnder(this.folder)) umount(path, MNT_DETACH);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The pins of its namespaces, and whatever a daemon that was killed has left; the last mounted comes first. */
function mountsUnder(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
    .toReversed();
}
