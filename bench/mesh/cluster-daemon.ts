import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LineProcess } from '../../lab/line-process.ts';
import type { UnderlayHost } from '../../lab/underlay.ts';
import { type Prefix, parsePrefix } from '../../src/addr/prefix.ts';
import { CulvertClient } from '../../src/api/client/client.ts';
import type { Topology } from '../../src/ipam/lease.ts';
import { UserspaceWireguard } from '../../src/linux/wireguard/userspace.ts';
import type { SeenDevice } from '../../src/plan/wireguard/device.ts';
import { type Key, parseKey } from '../../src/plan/wireguard/key.ts';
import { publicKeyOf } from '../../src/plan/wireguard/private-key.ts';

const run = promisify(execFile);
const PROGRAM = new URL('../../bin/culvert', import.meta.url).pathname;

let started = 0;

export type ClusterDaemonOptions = {
  /** prefix length of the pieces of the range, which the first host gives the cluster */
  readonly unit?: number;
  /** networks kept warm, by topology; none by default */
  readonly pool?: Partial<Record<Topology, number>>;
};

/** A daemon of a cluster as `culvert up` runs it, on a host of an underlay, with folders of its own. */
export class ClusterDaemon implements Disposable {
  readonly place: UnderlayHost;
  readonly client: CulvertClient;
  readonly #folder: string;
  readonly #process: LineProcess;
  #device: UserspaceWireguard | undefined;

  /** Starts it; it is there when {@link ready} says so. */
  constructor(place: UnderlayHost, registry: string, { pool = {}, ...cluster }: ClusterDaemonOptions = {}) {
    this.place = place;
    this.#folder = join(place.folder, `daemon-${++started}`);
    mkdirSync(this.#folder);
    const config = join(this.#folder, 'config.json');
    const content = {
      name: place.name,
      stateDir: join(this.#folder, 'state'),
      runDir: join(this.#folder, 'run'),
      pool: { microvm: 0, netns: 0, bridge: 0, ...pool },
      cluster: { registry, ...cluster },
    };
    writeFileSync(config, JSON.stringify(content));
    this.#process = new LineProcess(place.pin, PROGRAM, ['up', '--json', '--config', config]);
    this.client = new CulvertClient({ socketPath: this.socketPath });
  }

  get socketPath(): string {
    return join(this.#folder, 'run', 'api.sock');
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The folder of its pins. */
  get pins(): string {
    return join(this.#folder, 'run', 'netns');
  }

  /** The pin of its router namespace, once that is there. */
  get router(): string {
    return join(this.pins, 'router');
  }

  get publicKey(): Key {
    return publicKeyOf(parseKey(readFileSync(join(this.#folder, 'state', 'wireguard.key'), 'utf8').trim()));
  }

  get subnet(): Prefix {
    const seat = JSON.parse(readFileSync(join(this.#folder, 'state', 'cluster.json'), 'utf8'));
    return parsePrefix((seat as { place: { subnet: string } }).place.subnet);
  }

  async ready(): Promise<void> {
    await this.#process.line();
  }

  /** What its device has; undefined while there is none. */
  see(): SeenDevice | undefined {
    const folder = join(this.#folder, 'run', 'wireguard');
    const name = `wa-${this.place.name}`;
    if (this.#device === undefined && !existsSync(join(folder, `${name}.sock`))) return undefined;
    this.#device ??= new UserspaceWireguard(folder, name);
    return this.#device.read();
  }

  /** Subnets that its router has a way to. */
  async routes(): Promise<string[]> {
    const show = ['ip', '-j', 'route', 'show', 'dev', `wa-${this.place.name}`];
    const { stdout } = await run('nsenter', [`--net=${this.router}`, ...show]);
    return (JSON.parse(stdout || '[]') as { dst: string }[]).map(({ dst }) => dst);
  }

  /** Gives back its place and takes everything away. */
  async purge(): Promise<void> {
    await this.command('down', '--purge');
    await this.#process.ended();
  }

  /** What a command of `culvert` prints. @throws Error where it fails */
  async command(...parameters: string[]): Promise<string> {
    const env = { ...process.env, CULVERT_SOCKET: this.socketPath };
    const { stdout } = await run('nsenter', [`--net=${this.place.pin}`, PROGRAM, ...parameters], { env });
    return stdout;
  }

  [Symbol.dispose](): void {
    this.#device?.[Symbol.dispose]();
    this.client.close();
    this.#process[Symbol.dispose]();
  }
}
