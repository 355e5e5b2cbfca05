import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LabHost } from '../../lab/host.ts';
import { LineProcess } from '../../lab/line-process.ts';
import { CulvertClient } from '../../src/api/client/client.ts';
import type { Topology } from '../../src/ipam/lease.ts';
import { Connection, jsonRequest } from '../connection.ts';
import { ProcessorTime, type ThreadTime, threadTimes } from '../processor-time.ts';
import { PinFolder, type Stage } from '../stage.ts';
import { until } from '../until.ts';
import type { Creator } from './creator.ts';

const PROGRAM = new URL('../../bin/culvert', import.meta.url).pathname;

export type CulvertOptions = {
  /** networks kept warm, by topology; none by default */
  readonly pool?: Partial<Record<Topology, number>>;
  readonly bridgeRange?: string;
};

/** What a daemon keeps warm by default. */
export const DEFAULT_POOL = { microvm: 64, netns: 32, bridge: 8 } as const;

/** ms: a pool of some hundred networks, next to whatever else runs */
const FILL_TIMEOUT_MS = 60_000;
/** ms: a quarantine and what the kernel has to clear away */
const SETTLE_TIMEOUT_MS = 60_000;
/** ms: ten thousand sandboxes that an earlier daemon left */
const ADOPT_TIMEOUT_MS = 60_000;
/** ms: who asks takes the processor from who is asked */
const ADOPT_POLL_MS = 50;
/** sandboxes in one request, where a row does not say */
const PRACTISED_AT_ONCE = 50;

let started = 0;

/** A daemon, as `culvert up` runs it, on a host of its own; its leases are on the checkout's disk. */
export class Culvert implements Creator, Disposable {
  readonly name = 'Culvert';
  readonly host = new LabHost();
  readonly client: CulvertClient;
  readonly socketPath: string;
  readonly #pins: PinFolder;
  readonly #folder: string;
  readonly #name = `bench-${++started}`;
  #pool: Partial<Record<Topology, number>> = {};
  #process: LineProcess | undefined;
  #live = 0;
  /** for what is timed: a client of its own would be a part of it */
  #connection: Connection | undefined;
  /** Of the rounds that it was raced in. */
  readonly spent = new ProcessorTime();
  #before: ReadonlyMap<number, ThreadTime> = new Map();

  private constructor(stage: Stage) {
    this.#pins = new PinFolder(stage.folder, `${this.#name}-run`);
    this.#folder = join(stage.disk, this.#name);
    mkdirSync(this.#folder);
    this.socketPath = join(this.#pins.path, 'api.sock');
    this.client = new CulvertClient({ socketPath: this.socketPath });
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
  async up({ pool = {}, bridgeRange }: CulvertOptions = {}): Promise<void> {
    this.#pool = pool;
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

  /** A figure of /proc/PID/status or smaps_rollup, in bytes. */
  memory(file: 'status' | 'smaps_rollup', name: string): number {
    const text = readFileSync(`/proc/${this.pid}/${file}`, 'utf8');
    const [, kibibytes] = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text) ?? [];
    if (kibibytes === undefined) throw new Error(`There is no ${name} in /proc/${this.pid}/${file}`);
    return Number(kibibytes) * 1024;
  }

  /** Waits until as many networks are warm as shall be. */
  async prepare(): Promise<void> {
    const sizes = Object.entries(this.#pool) as [Topology, number][];
    if (sizes.length > 0) {
      await until('the pool is full', FILL_TIMEOUT_MS, async () => {
        const { warm } = await this.client.status();
        return sizes.every(([topology, size]) => warm[topology] >= size);
      });
    }
    this.#before = threadTimes(this.pid);
  }

  finish(): void {
    this.spent.add(this.#before, threadTimes(this.pid));
  }

  /**
   * Makes sandboxes and removes them, some at a time: a daemon runs for weeks, and what is measured of it is not how
   * fast its JavaScript is while nothing of it is compiled yet.
   */
  async practise(count: number, atOnce = PRACTISED_AT_ONCE): Promise<void> {
    for (let done = 0; done < count; done += atOnce) {
      const made = await this.client.create({ topology: 'microvm', count: Math.min(atOnce, count - done) });
      await this.client.remove(made.map(({ id }) => id));
    }
    await this.settled();
  }

  /** Waits until nothing is being removed or rests in quarantine. */
  async settled(): Promise<void> {
    await until('nothing is being removed', SETTLE_TIMEOUT_MS, async () => {
      const { removing, quarantined } = await this.client.status();
      return removing === 0 && quarantined === 0;
    });
  }

  /** Waits until what an earlier daemon left is verified. */
  async adopted(): Promise<void> {
    const isDone = async (): Promise<boolean> => !(await this.client.status()).adopting;
    await until('all are adopted', ADOPT_TIMEOUT_MS, isDone, ADOPT_POLL_MS);
  }

  /** In one request, as `culvert create --count` does. */
  async create(count: number): Promise<void> {
    if (this.#connection?.isOpen !== true) this.#connection = await Connection.open(this.socketPath);
    await this.#connection.ask(jsonRequest('POST', '/v1/sandboxes', { topology: 'microvm', count }));
    this.#live += count;
  }

  async createNamed(id: string): Promise<void> {
    await this.client.create({ id, topology: 'microvm' });
    this.#live++;
  }

  /** Ends the daemon as a crash would, and leaves the sandboxes running. */
  async kill(): Promise<void> {
    this.#connection?.[Symbol.dispose]();
    this.#connection = undefined;
    await this.#process?.end('SIGKILL');
    this.#process = undefined;
  }

  [Symbol.dispose](): void {
    this.client.close();
    this.#connection?.[Symbol.dispose]();
    this.#process?.[Symbol.dispose]();
    this.#pins[Symbol.dispose]();
    this.host[Symbol.dispose]();
  }
}
