import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LabHost } from '../../lab/host.ts';
import { CulvertClient } from '../../src/api/client/client.ts';
import type { Topology } from '../../src/ipam/lease.ts';
import { LineProcess } from '../line-process.ts';
import { PinFolder, type Stage } from '../stage.ts';
import type { Creator } from './creator.ts';

const PROGRAM = new URL('../../bin/culvert', import.meta.url).pathname;

export type CulvertOptions = {
  /** networks kept warm, by topology; none by default */
  readonly pool?: Partial<Record<Topology, number>>;
  readonly bridgeRange?: string;
};

let started = 0;

/** A daemon, as `culvert up` runs it, on a host of its own; its leases are on the checkout's disk. */
export class Culvert implements Creator, Disposable {
  readonly name = 'Culvert';
  readonly host = new LabHost();
  readonly client: CulvertClient;
  readonly #pins: PinFolder;
  readonly #folder: string;
  readonly #name = `bench-${++started}`;
  #process: LineProcess | undefined;
  #live = 0;

  private constructor(stage: Stage) {
    this.#pins = new PinFolder(stage.folder, `${this.#name}-run`);
    this.#folder = join(stage.disk, this.#name);
    mkdirSync(this.#folder);
    this.client = new CulvertClient({ socketPath: join(this.#pins.path, 'api.sock') });
  }

  static async start(stage: Stage, options: CulvertOptions = {}): Promise<Culvert> {
    const culvert = new Culvert(stage);
    try {
      await culvert.up(options);
      return culvert;
    } catch (error) {
      culvert[Symbol.dispose]();
      throw error;
    }
  }

  /** Runs `culvert up` on the folders of before, and resolves when it says that it is ready. */
  async up({ pool = {}, bridgeRange }: CulvertOptions): Promise<void> {
    const config = join(this.#folder, 'config.json');
    const content = {
      name: this.#name,
      stateDir: join(this.#folder, 'state'),
      runDir: this.#pins.path,
      pool: { microvm: 0, netns: 0, bridge: 0, ...pool },
      ...(bridgeRange === undefined ? {} : { ranges: { bridge: bridgeRange } }),
    };
    writeFileSync(config, JSON.stringify(content));
    this.#process = new LineProcess(this.host.pin('host'), PROGRAM, ['up', '--json', '--config', config]);
    await this.#process.line();
  }

  get live(): number {
    return this.#live;
  }

  get pid(): number {
    if (this.#process === undefined) throw new Error('The daemon is not running');
    return this.#process.pid;
  }

  /** The path of a namespace: `router`, `s<slot>`. */
  pin(name: string): string {
    return join(this.#pins.path, 'netns', name);
  }

  /** In one request, as `culvert create --count` does. */
  async create(count: number): Promise<void> {
    await this.client.create({ topology: 'microvm', count });
    this.#live += count;
  }

  /** Ends the daemon as a crash would, and leaves the sandboxes running. */
  async kill(): Promise<void> {
    await this.#process?.end('SIGKILL');
    this.#process = undefined;
  }

  [Symbol.dispose](): void {
    this.client.close();
    this.#process?.[Symbol.dispose]();
    this.#pins[Symbol.dispose]();
    this.host[Symbol.dispose]();
  }
}
