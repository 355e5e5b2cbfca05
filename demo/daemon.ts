import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LineProcess } from '../lab/line-process.ts';
import { CulvertClient, type SandboxResource } from '../src/api/client/client.ts';

const PROGRAM = new URL('../bin/culvert', import.meta.url).pathname;

type Topology = SandboxResource['topology'];

/** Where a daemon runs, and what it is told. */
export type DaemonPlace = {
  /** the pin of its host's root namespace */
  readonly netns: string;
  readonly runDir: string;
  /** on a disk, for what outlives a daemon */
  readonly folder: string;
  /** which what it puts into the root namespace bears, and the name of the host in a cluster */
  readonly name: string;
  /** of its cluster; absent for a host that is in none */
  readonly registry?: string;
};

/** `culvert up` on a lab's host, to be killed and started again. */
export class Daemon implements Disposable {
  readonly client: CulvertClient;
  readonly socketPath: string;
  readonly #place: DaemonPlace;
  #process: LineProcess | undefined;

  constructor(place: DaemonPlace) {
    this.#place = place;
    this.socketPath = join(place.runDir, 'api.sock');
    this.client = new CulvertClient({ socketPath: this.socketPath });
  }

  /**
   * Starts it, on what the one before has left.
   *
   * @param pool networks to keep ready; absent, as many as by default
   * @returns ms until it said that it is ready
   */
  async up(pool?: Readonly<Record<Topology, number>>): Promise<number> {
    const { netns, runDir, folder, name, registry } = this.#place;
    const stateDir = join(folder, 'state');
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const config = join(folder, 'config.json');
    writeFileSync(config, JSON.stringify(pool === undefined ? {} : { pool }));
    const folders = ['--state-dir', stateDir, '--run-dir', runDir, '--config', config];
    const cluster = registry === undefined ? [] : ['--registry', registry];
    const begin = performance.now();
    this.#process = new LineProcess(netns, PROGRAM, ['up', '--json', ...folders, '--name', name, ...cluster]);
    await this.#process.line();
    return performance.now() - begin;
  }

  get pid(): number {
    if (this.#process === undefined) throw new Error('The daemon is not running');
    return this.#process.pid;
  }

  /** The path of a namespace: `router`, or that of a sandbox, `s<slot>`. */
  pin(name: string): string {
    return join(this.pins, name);
  }

  /** The folder of all pins. */
  get pins(): string {
    return join(this.#place.runDir, 'netns');
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    await this.#process?.end('SIGKILL');
    this.#process = undefined;
  }

  /** Runs `culvert` as a user would, to its end. */
  run(...parameters: string[]): string {
    const command = [`--net=${this.#place.netns}`, PROGRAM, ...parameters, '--socket', this.socketPath];
    return execFileSync('nsenter', command, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Resolves when it has ended by itself. @returns its exit code */
  async ended(): Promise<number | null> {
    const code = (await this.#process?.ended()) ?? null;
    this.#process = undefined;
    return code;
  }

  [Symbol.dispose](): void {
    this.client.close();
    this.#process?.[Symbol.dispose]();
  }
}
