import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabHost } from '../lab/host.ts';
import { LineProcess } from '../lab/line-process.ts';
import { CulvertClient, type SandboxResource } from '../src/api/client/client.ts';

const PROGRAM = new URL('../bin/culvert', import.meta.url).pathname;

type Topology = SandboxResource['topology'];

/** The name of the daemon, which what it puts into the host's namespace bears. */
const INSTANCE = 'demo';

/** `culvert up` on a lab's host, to be killed and started again. */
export class Daemon implements Disposable {
  readonly client: CulvertClient;
  readonly socketPath: string;
  readonly #lab: LabHost;
  readonly #runDir: string;
  readonly #folder: string;
  #process: LineProcess | undefined;

  /** @param folder on a disk, for what outlives a daemon */
  constructor(lab: LabHost, folder: string) {
    this.#lab = lab;
    this.#folder = folder;
    this.#runDir = join(lab.folder, 'run');
    this.socketPath = join(this.#runDir, 'api.sock');
    this.client = new CulvertClient({ socketPath: this.socketPath });
  }

  /**
   * Starts it, on what the one before has left.
   *
   * @param pool networks to keep ready; absent, as many as by default
   * @returns ms until it said that it is ready
   */
  async up(pool?: Readonly<Record<Topology, number>>): Promise<number> {
    const stateDir = join(this.#folder, 'state');
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const config = join(this.#folder, 'config.json');
    writeFileSync(config, JSON.stringify(pool === undefined ? {} : { pool }));
    const folders = ['--state-dir', stateDir, '--run-dir', this.#runDir, '--config', config, '--name', INSTANCE];
    const begin = performance.now();
    this.#process = new LineProcess(this.#lab.pin('host'), PROGRAM, ['up', '--json', ...folders]);
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
    return join(this.#runDir, 'netns');
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    await this.#process?.end('SIGKILL');
    this.#process = undefined;
  }

  /** Runs `culvert` as a user would, to its end. */
  run(...parameters: string[]): string {
    return this.#lab.run('host', PROGRAM, ...parameters, '--socket', this.socketPath);
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
