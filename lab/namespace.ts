import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { NamespaceHandle } from '../src/linux/namespace.ts';
import { NETLINK_NETFILTER } from '../src/linux/netlink/constants.ts';
import { NetlinkSocket } from '../src/linux/netlink/socket.ts';
import { waitUntil } from './wait.ts';

/**
 * A network namespace that a process of its own holds: it ends when its standard input does, so the namespace is gone
 * when the test is, however that ends.
 */
export class LabNamespace {
  readonly #holder: ChildProcess;
  readonly pid: number;
  readonly path: string;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
    this.pid = holder.pid ?? 0;
    this.path = `/proc/${this.pid}/ns/net`;
  }

  static async make(): Promise<LabNamespace> {
    const holder = spawn('unshare', ['-n', 'sh', '-c', 'echo made && exec cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const first = await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')]);
    if (String(first[0]) !== 'made\n')
      throw new Error(`Cannot make a network namespace: unshare ended with ${first[0]}`);
    const namespace = new LabNamespace(holder);
    namespace.ip('link set lo up');
    return namespace;
  }

  /** Runs lines of ip(8). */
  ip(...lines: string[]): void {
    this.feed(lines.join('\n'), 'ip', '-batch', '-');
  }

  /** Waits until links are up at both ends, and the kernel has noticed: before that a port of a bridge lets nothing through. */
  untilUp(...links: string[]): void {
    waitUntil(() => links.every((name) => this.run('ip', 'link', 'show', name).includes('state UP')));
  }

  /** Lets it route between its links. */
  forward(): void {
    this.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  }

  /** Lets its links, the present and the coming ones, send nothing by themselves. */
  withoutIpv6(): void {
    this.run('sh', '-c', 'for i in all default; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done');
  }

  /** Runs a command inside and gives what it printed. @throws Error where it fails, with what it printed */
  run(command: string, ...args: string[]): string {
    return execFileSync('nsenter', [`--net=${this.path}`, command, ...args], { encoding: 'utf8', stdio: 'pipe' });
  }

  /** Runs a command inside with `input` on its standard input. @throws Error where it fails, with what it printed */
  feed(input: string, command: string, ...args: string[]): void {
    execFileSync('nsenter', [`--net=${this.path}`, command, ...args], { input, stdio: 'pipe' });
  }

  /** Starts a command inside. */
  start(command: string, ...args: string[]): ChildProcess {
    return spawn('nsenter', [`--net=${this.path}`, command, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  }

  /** Runs `body` with this thread inside; only what is synchronous stays inside. */
  within<T>(body: () => T): T {
    using handle = new NamespaceHandle(this.path);
    return handle.run(body);
  }

  netfilter(): NetlinkSocket {
    return this.within(() => new NetlinkSocket(NETLINK_NETFILTER));
  }

  async close(): Promise<void> {
    const ended = once(this.#holder, 'exit');
    this.#holder.stdin?.end();
    await ended;
  }
}
