import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { UnderlayHost } from '../../lab/underlay.ts';
import type { StatusResource } from '../../src/api/client/client.ts';
import { CULVERT, ended, lineOf } from './command-line.ts';

const POOL = { microvm: 1, netns: 1, bridge: 1 };

export type UpOptions = {
  readonly alone?: boolean;
  readonly name?: string;
  readonly cluster?: object;
  readonly ranges?: object;
  readonly pool?: object;
  /** folder of the files of tunnels */
  readonly tunnels?: string;
  /** variables of its process, besides those of this one */
  readonly env?: Readonly<Record<string, string>>;
};

/** A daemon as people run it, on a host of the lab. */
export class HostDaemon {
  readonly place: UnderlayHost;
  readonly runDir: string;
  readonly stateDir: string;
  readonly registry: string;
  #child: ChildProcess | undefined;

  constructor(place: UnderlayHost, registry: string) {
    this.place = place;
    this.registry = registry;
    this.runDir = join(place.folder, 'run');
    this.stateDir = join(place.folder, 'state');
  }

  get #config(): string {
    return join(this.place.folder, 'config.json');
  }

  async up({ alone = false, name = this.place.name, env = {}, ...config }: UpOptions = {}): Promise<void> {
    writeFileSync(this.#config, JSON.stringify({ pool: POOL, quarantine: { floorMs: 0 }, ...config }));
    const folders = ['--run-dir', this.runDir, '--state-dir', this.stateDir, '--config', this.#config];
    const cluster = ['--name', name, ...(alone ? [] : ['--registry', this.registry])];
    const command = [
      `--net=${this.place.pin}`,
      'setpriv',
      '--pdeathsig',
      'KILL',
      CULVERT,
      'up',
      ...folders,
      ...cluster,
    ];
    this.#child = spawn('nsenter', command, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    await lineOf(this.#child, /is ready/);
  }

  /** Whether its process is there. */
  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get wasKilled(): boolean {
    return this.#child?.signalCode === 'SIGKILL';
  }

  /** Has it stand still, or go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    if (this.#child?.kill(signal) !== true) throw new Error('There is no daemon');
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    const gone = ended(child);
    child.kill('SIGKILL');
    await gone;
  }

  /** What nsenter(1) is given to run a command of the daemon's. */
  command(...parameters: string[]): string[] {
    const socket = `CULVERT_SOCKET=${join(this.runDir, 'api.sock')}`;
    return [`--net=${this.place.pin}`, 'env', socket, CULVERT, ...parameters];
  }

  run(...parameters: string[]): string {
    return execFileSync('nsenter', this.command(...parameters), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  json(...parameters: string[]): unknown {
    return JSON.parse(this.run(...parameters, '--json'));
  }

  problems(): string[] {
    return (this.json('status') as StatusResource).problems.map(({ code }) => code);
  }

  /** Lines of ip(8) in the router namespace. */
  routes(): string[] {
    const router = join(this.runDir, 'netns', 'router');
    const show = [`--net=${router}`, 'ip', 'route', 'show', 'dev', `wa-${this.place.name}`];
    const { stdout } = spawnSync('nsenter', show);
    return stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '')
      .toSorted();
  }

  subnet(): string {
    const seat = JSON.parse(readFileSync(join(this.stateDir, 'cluster.json'), 'utf8')) as { place: { subnet: string } };
    return seat.place.subnet;
  }
}
