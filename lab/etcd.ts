import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { formatIpv4 } from '../src/addr/ipv4.ts';
import type { UnderlayHost } from './underlay.ts';
import { waitUntil } from './wait.ts';

const CLIENT_PORT = 2379;
const PEER_PORT = 2380;
const START_MS = 30_000;
/** of a user that lives as long as a test */
const ROOT_PASSWORD = 'root of the lab';

type Options = {
  /** The host that it runs on, at that one's address; on this machine's loopback where absent. */
  readonly on?: UnderlayHost;
  readonly members?: number;
  /** Hosts that have a member each, in place of these two. */
  readonly over?: readonly UnderlayHost[];
  /** Speaks TLS, and only with who has a certificate of its authority. */
  readonly tls?: boolean;
  /**
   * Listens at every address of the loopback: a process has one connection to one address, and who is to be many hosts
   * gives each an address to ask at.
   */
  readonly everywhere?: boolean;
};

type Member = {
  readonly name: string;
  readonly address: string;
  /** what runs a command where it is */
  readonly enter: readonly string[];
  port: number;
  process: ChildProcess | undefined;
};

/**
 * An etcd of one member or several, each at a loopback address of its own, so that those of tests beside it have the
 * same ports. Gone when it is disposed of.
 */
export class LabEtcd implements AsyncDisposable, Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'culvert-etcd-'));
  readonly #members: readonly Member[];
  readonly #tls: boolean;
  readonly #everywhere: boolean;
  #user: readonly string[] = [];

  private constructor({ members = 1, tls = false, everywhere = false, on, over }: Options) {
    this.#tls = tls;
    this.#everywhere = everywhere;
    const network = `127.${randomInt(1, 255)}.${randomInt(0, 255)}`;
    const hosts = over ?? Array.from({ length: members }, () => on);
    this.#members = hosts.map((host, index) => ({
      name: `m${index + 1}`,
      address: host === undefined ? `${network}.${index + 1}` : formatIpv4(host.address),
      enter: host === undefined ? [] : ['nsenter', `--net=${host.pin}`],
      port: CLIENT_PORT,
      process: undefined,
    }));
    if (tls) this.#makeCertificates();
  }

  static async start(options: Options = {}): Promise<LabEtcd> {
    const etcd = new LabEtcd(options);
    try {
      for (const index of etcd.#members.keys()) etcd.launch(index);
      await etcd.ready();
      return etcd;
    } catch (error) {
      await etcd[Symbol.asyncDispose]();
      throw error;
    }
  }

  get endpoints(): string[] {
    return this.#members.map(({ address }) => `${address}:${CLIENT_PORT}`);
  }

  /** PEM */
  get certificates(): { readonly ca: Buffer; readonly certificate: Buffer; readonly key: Buffer } {
    const read = (name: string): Buffer => readFileSync(join(this.folder, name));
    return { ca: read('ca.pem'), certificate: read('peer.pem'), key: read('peer.key') };
  }

  /**
   * Starts a member, with what it had before.
   *
   * @param port where nobody but {@link control} finds it
   */
  launch(index: number, { port = CLIENT_PORT }: { readonly port?: number } = {}): void {
    const member = this.#member(index);
    const scheme = this.#tls ? 'https' : 'http';
    member.port = port;
    const clients = `${scheme}://${member.address}:${port}`;
    const peers = `http://${member.address}:${PEER_PORT}`;
    const log = openSync(join(this.folder, `${member.name}.log`), 'a');
    const options = {
      name: member.name,
      'data-dir': join(this.folder, member.name),
      'listen-client-urls': this.#everywhere ? `${scheme}://0.0.0.0:${port}` : clients,
      'advertise-client-urls': clients,
      'listen-peer-urls': peers,
      'initial-advertise-peer-urls': peers,
      'initial-cluster': this.#members.map(({ name, address }) => `${name}=http://${address}:${PEER_PORT}`).join(','),
      ...(this.#tls && {
        'cert-file': join(this.folder, 'peer.pem'),
        'key-file': join(this.folder, 'peer.key'),
        'trusted-ca-file': join(this.folder, 'ca.pem'),
        'client-cert-auth': 'true',
      }),
      logger: 'zap',
      'log-level': 'error',
    };
    const parameters = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    // it ends with this process, however that does
    const [command, ...rest] = [...member.enter, 'setpriv', '--pdeathsig', 'KILL', 'etcd', ...parameters];
    if (command !== undefined) member.process = spawn(command, rest, { stdio: ['ignore', log, log] });
  }

  async kill(index: number): Promise<void> {
    const { process: child } = this.#member(index);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
    await promise;
  }

  /** Puts back what the only member had when {@link control} wrote `snapshot save` to that file; it must not run. */
  restore(index: number, snapshot: string): void {
    const { name, address } = this.#member(index);
    const peer = `http://${address}:${PEER_PORT}`;
    this.forget(index);
    this.control(
      'snapshot',
      'restore',
      snapshot,
      `--name=${name}`,
      `--data-dir=${join(this.folder, name)}`,
      `--initial-cluster=${name}=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
    );
  }

  /** Takes from a member that was killed all that it had. */
  forget(index: number): void {
    rmSync(join(this.folder, this.#member(index).name), { recursive: true });
  }

  /** Stops a member where it stands, until it is let {@link go} on. */
  halt(index: number): void {
    const { process: child } = this.#member(index);
    child?.kill('SIGSTOP');
    // each thread stops where it is next, and may answer before
    const deadline = performance.now() + START_MS;
    const { pid } = child ?? {};
    if (pid !== undefined) waitUntil(() => isStopped(pid) || performance.now() > deadline);
  }

  go(index: number): void {
    this.#member(index).process?.kill('SIGCONT');
  }

  /** Resolves when it answers. */
  async ready(): Promise<void> {
    for (const deadline = performance.now() + START_MS; ; ) {
      try {
        return void this.control('endpoint', 'health');
      } catch (error) {
        if (performance.now() > deadline) throw error;
        // oxlint-disable-next-line no-await-in-loop -- asked again and again
        await pause(50);
      }
    }
  }

  /** From now on it answers who gives a password, and lets this one have what is below a prefix. */
  requireUsers({ name, password, prefix }: { name: string; password: string; prefix: string }): void {
    this.control('role', 'add', name);
    this.control('role', 'grant-permission', '--prefix=true', name, 'readwrite', prefix);
    for (const [user, secret, role] of [
      ['root', ROOT_PASSWORD, 'root'],
      [name, password, name],
    ] as const) {
      this.control('user', 'add', user, `--new-user-password=${secret}`);
      this.control('user', 'grant-role', user, role);
    }
    this.control('auth', 'enable');
    this.#user = ['--user', `root:${ROOT_PASSWORD}`];
  }

  /** etcdctl(1) */
  control(...parameters: string[]): string {
    const endpoints = this.#members.map(({ address, port }) => `${address}:${port}`).join(',');
    const at = (name: string): string => join(this.folder, name);
    const tls = [`--cacert=${at('ca.pem')}`, `--cert=${at('peer.pem')}`, `--key=${at('peer.key')}`];
    const common = [`--endpoints=${endpoints}`, '--command-timeout=10s', ...this.#user, ...(this.#tls ? tls : [])];
    const [command = '', ...rest] = [...this.#member(0).enter, 'etcdctl', ...common, ...parameters];
    return execFileSync(command, rest, {
      encoding: 'utf8',
      env: { ...process.env, ETCDCTL_API: '3' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** For who cannot wait until it has ended. */
  [Symbol.dispose](): void {
    for (const { process: child } of this.#members) child?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#members.keys()].map((index) => this.kill(index)));
    rmSync(this.folder, { recursive: true, force: true });
  }

  #member(index: number): Member {
    const member = this.#members[index];
    if (member === undefined) throw new Error(`There is no member ${index}`);
    return member;
  }

  /** An authority, and one certificate of it for all members and for who asks them. */
  #makeCertificates(): void {
    mkdirSync(this.folder, { recursive: true });
    const openssl = (...parameters: string[]): void =>
      void execFileSync('openssl', parameters, { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
    const fresh = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
    openssl(...fresh, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=lab authority');
    const names = `subjectAltName=${this.#members.map(({ address }) => `IP:${address}`).join(',')}`;
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-addext', names, '-addext', 'basicConstraints=CA:FALSE'];
    openssl(...fresh, ...signed, '-keyout', 'peer.key', '-out', 'peer.pem', '-subj', '/CN=lab member');
  }
}

/** Whether every thread of a process is (proc(5), state T). */
function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).every((task) => /\) [Tt] /.test(readFileSync(join(tasks, task, 'stat'), 'latin1')));
}
