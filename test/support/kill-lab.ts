import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'vitest';
import { Endpoint } from '../../lab/endpoint/endpoint.ts';
import { ECHO_PORT, type StreamReport } from '../../lab/endpoint/protocol.ts';
import { Underlay } from '../../lab/underlay.ts';
import { CulvertClient, type MeshBody, type MeshResource, type SandboxResource } from '../../src/api/client/client.ts';
import { HostDaemon } from './host-daemon.ts';
import { programsIn, wgShow } from './wireguard-seen.ts';

const PATIENCE = { timeout: 30_000, interval: 50 };
const PRELOAD = join(import.meta.dirname, 'kill-steps.ts');

/** Where a daemon is to be killed: see `kill-steps.ts`. */
export type KillPoint = { readonly begin: 'start' | 'wish'; readonly at: string };

type Entry = { readonly key: string; readonly value: string; readonly granted: number | null };
type HostRecord = {
  readonly identity: string;
  readonly generation: number;
  readonly subnet: string;
  readonly published: { readonly keys: readonly { readonly rotation: number; readonly publicKey: string }[] };
};

/**
 * Two hosts of a cluster, of which one is killed again and again and the other looks on:
 *
 *     h1, killed: s1 in web ─── wa-h1 ══ wire ══ wa-h2 ─── h2: s2 in web
 */
export class KillLab implements AsyncDisposable {
  readonly underlay: Underlay;
  readonly victim: HostDaemon;
  readonly witness: HostDaemon;
  readonly #opened: AsyncDisposableStack;
  readonly #registry: string;

  private constructor(opened: AsyncDisposableStack) {
    this.underlay = opened.use(new Underlay(2));
    const [one, two] = this.underlay.hosts;
    if (one === undefined || two === undefined) throw new Error('There are two');
    this.#registry = join(this.underlay.folder, 'registry.sqlite');
    const registry = `file:${this.#registry}`;
    [this.victim, this.witness] = [new HostDaemon(one, registry), new HostDaemon(two, registry)];
    opened.defer(async () => void (await Promise.all([this.victim.kill(), this.witness.kill()])));
    this.#opened = opened;
  }

  static async open(): Promise<KillLab> {
    const opened = new AsyncDisposableStack();
    try {
      const lab = new KillLab(opened);
      await lab.#start(lab.witness);
      return lab;
    } catch (error) {
      await opened.disposeAsync();
      throw error;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }

  /** Starts the one that is killed. @returns false where it was before it was ready */
  async start(point?: KillPoint): Promise<boolean> {
    try {
      await this.#start(this.victim, point);
      return true;
    } catch (error) {
      if (point !== undefined && this.victim.wasKilled) return false;
      throw error;
    }
  }

  #start(daemon: HostDaemon, { begin = 'wish', at = '' }: Partial<KillPoint> = {}): Promise<void> {
    const follows = this.#followsFile(daemon);
    const env = { NODE_OPTIONS: `--import ${PRELOAD}`, KILL_BEGIN: begin, KILL_AT: at, KILL_FOLLOWS: follows };
    return daemon.up({ env, pool: { microvm: 0, netns: 0, bridge: 0 } });
  }

  /** Of two that could lead a change, this one does. */
  leads(daemon: HostDaemon): void {
    for (const one of [this.victim, this.witness]) {
      if (one === daemon) rmSync(this.#followsFile(one), { force: true });
      else writeFileSync(this.#followsFile(one), '');
    }
  }

  #followsFile({ place }: HostDaemon): string {
    return join(place.folder, 'follows');
  }

  create(daemon: HostDaemon, id: string): SandboxResource {
    const [sandbox] = daemon.json('create', id, '--topology', 'netns', '--group', 'web') as SandboxResource[];
    if (sandbox === undefined) throw new Error('No sandbox was made');
    return sandbox;
  }

  /**
   * Has two sandboxes of the two hosts send to each other, until it is told to stop.
   *
   * @returns stops them, and says what each has sent and was answered
   */
  async talk(): Promise<() => Promise<StreamReport[]>> {
    const [one, two] = [this.create(this.victim, 's1'), this.create(this.witness, 's2')];
    const open = async ({ id, netns }: SandboxResource): Promise<Endpoint> =>
      this.#opened.use(await Endpoint.start(id, netns));
    const [near, far] = [await open(one), await open(two)];
    const question = { to: two.hostAddress, text: 'up', count: 1, waitMs: 200 };
    await expect.poll(async () => (await near.ask(question)).echoes.length, { timeout: 30_000 }).toBe(1);
    await near.stream(two.hostAddress, ECHO_PORT, 10);
    await far.stream(one.hostAddress, ECHO_PORT, 10);
    return async () => [await near.stopStream(), await far.stopStream()];
  }

  async ask<T>(daemon: HostDaemon, question: (client: CulvertClient) => Promise<T>): Promise<T> {
    using client = new CulvertClient({ socketPath: join(daemon.runDir, 'api.sock') });
    return await question(client);
  }

  /** Has the one that is killed write a wish. @returns whether it was killed on the way to where all are as wished */
  async wish(wish: MeshBody): Promise<boolean> {
    const { victim } = this;
    try {
      const { number } = await this.ask(victim, (client) => client.changeMesh(wish));
      while (victim.isRunning) {
        // oxlint-disable-next-line no-await-in-loop -- one look after the other
        if (await this.#isDone(number)) return false;
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await pause(PATIENCE.interval);
      }
    } catch (error) {
      await expect.poll(() => victim.isRunning).toBe(false);
      if (!victim.wasKilled) throw error;
    }
    return true;
  }

  /** Waits until the one that is killed has joined, and the others know. @returns whether it was killed on the way */
  async comesUp(): Promise<boolean> {
    const { victim } = this;
    try {
      while (victim.isRunning) {
        // oxlint-disable-next-line no-await-in-loop -- one look after the other
        const meshes = await this.#meshes();
        const isThere = meshes.every(
          ({ progress, peers }) => peers.length === 1 && progress.every(({ reached }) => reached === 'drop'),
        );
        if (isThere) return false;
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await pause(PATIENCE.interval);
      }
    } catch (error) {
      await expect.poll(() => victim.isRunning).toBe(false);
      if (!victim.wasKilled) throw error;
    }
    return true;
  }

  /** It leaves for good, and is a host that was never there. */
  async leave(): Promise<void> {
    const { victim } = this;
    await this.ask(victim, (client) => client.shutdown({ purge: true }));
    await expect.poll(() => victim.isRunning, PATIENCE).toBe(false);
    expect(this.entries().filter(({ key, value }) => `${key} ${value}`.includes('h1'))).toEqual([]);
    expect(programsIn(victim.place.pin)).toEqual([]);
    expect(this.underlay.run(victim.place.pin, 'ip', '-o', 'link').match(/\bw[a-d]-/)).toBeNull();
    for (const folder of [victim.stateDir, victim.runDir]) rmSync(folder, { recursive: true });
  }

  async #isDone(number: number): Promise<boolean> {
    const epochs = await this.#meshes();
    return epochs.every(({ epoch }) => epoch.number === number && epoch.phase === 'done') && this.#haveOneKey();
  }

  #meshes(): Promise<MeshResource[]> {
    return Promise.all([this.victim, this.witness].map((daemon) => this.ask(daemon, (client) => client.mesh())));
  }

  #haveOneKey(): boolean {
    return [this.victim, this.witness].every((daemon) => keyFiles(daemon).length === 1);
  }

  /** What the registry holds, as it stands in its file. */
  entries(): Entry[] {
    using opened = new DisposableStack();
    const database = opened.adopt(new DatabaseSync(this.#registry, { readOnly: true }), (one) => one.close());
    return database.prepare('SELECT key, value, granted FROM entry ORDER BY key').all() as Entry[];
  }

  host(name: string): HostRecord {
    const found = this.entries().find(({ key }) => key === `hosts/${name}`);
    return JSON.parse(found?.value ?? '{}') as HostRecord;
  }

  /** The epoch that stands in the registry. */
  epoch(): { number: number; phase: string; encrypts: boolean; rotation: number } {
    const found = this.entries().find(({ key }) => key === 'mesh/epoch');
    const first = { number: 0, phase: 'done', encrypts: true, rotation: 0 };
    return { ...first, ...(JSON.parse(found?.value ?? '{}') as object) };
  }

  /** Waits until all have come where the registry says, and looks at everything. */
  async settled(when: string): Promise<void> {
    const isThere = async (): Promise<string> => {
      const { number, phase, encrypts } = this.epoch();
      const word = encrypts ? 'encrypted' : 'clear';
      const meshes = await this.#meshes();
      const isAt = meshes.every(
        ({ epoch, peers }) => epoch.number === number && peers.every(({ sends }) => sends === word),
      );
      return phase === 'done' && isAt && this.#haveOneKey()
        ? 'there'
        : JSON.stringify([this.epoch(), meshes, keyFiles(this.victim), keyFiles(this.witness)]);
    };
    await expect.poll(isThere, { ...PATIENCE, message: when }).toBe('there');
    // what the one that was killed had under its lease is written again, and who has led leads no more
    await expect.poll(() => this.#registryState(), { ...PATIENCE, message: when }).toEqual(this.#registryWanted());
    await expect.poll(() => this.#problems(), { ...PATIENCE, message: when }).toEqual([]);
    for (const [daemon, other] of [
      [this.victim, this.witness],
      [this.witness, this.victim],
    ] as const) {
      const said = `${when}: ${daemon.place.name}`;
      const plan = async (): Promise<string[]> =>
        (await this.ask(daemon, (client) => client.reconcile({ dryRun: true }))).plan;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect.poll(plan, { ...PATIENCE, message: said }).toEqual([]);
      // one that is being written is there for an instant; one that is left stays
      await expect.poll(() => draftsOf(daemon), { ...PATIENCE, message: said }).toEqual([]);
      expect(this.#kernelState(daemon), said).toEqual(this.#kernelWanted(daemon, other));
    }
  }

  async #problems(): Promise<string[]> {
    const all = await Promise.all([this.victim, this.witness].map((one) => this.ask(one, (client) => client.status())));
    return all.flatMap(({ problems }) => problems.map(({ message }) => message));
  }

  /** Every key, and of which host's leases that are kept it is. */
  #registryState(): unknown {
    const entries = this.entries();
    const leases = new Map(
      entries.flatMap(({ key, value, granted }) => {
        if (key.startsWith('alive/')) return [[granted, `alive ${key.slice('alive/'.length)}`]];
        return key.startsWith('holds/') ? [[granted, `hold ${value}`]] : [];
      }),
    );
    return entries.map(({ key, granted }) => [key, granted === null ? '' : (leases.get(granted) ?? 'no lease')]);
  }

  #registryWanted(): unknown {
    const members = this.entries().filter(({ key }) => key.startsWith('members/'));
    const names = ['h1', 'h2'];
    const subnets = this.entries().filter(({ key }) => key.startsWith('subnets/'));
    const owned = subnets.map(({ key, value }) => ({
      unit: key.slice('subnets/'.length),
      ...(JSON.parse(value) as { host: string; identity: string; generation: number }),
    }));
    expect(owned.map(({ host }) => host).toSorted()).toEqual(names);
    for (const { host, identity, generation } of owned) {
      expect(this.host(host)).toMatchObject({ identity, generation });
      expect(generation).toBe(1);
    }
    return [
      ['alive/h1', 'alive h1'],
      ['alive/h2', 'alive h2'],
      ['cluster', ''],
      ['epochs/h1', 'alive h1'],
      ['epochs/h2', 'alive h2'],
      ...owned.map(({ unit, host }) => [`holds/${unit}`, `hold ${host}`]),
      ['hosts/h1', ''],
      ['hosts/h2', ''],
      ...members.map(({ key }) => [key, `hold ${key.split('/')[2]}`]),
      ['mesh/epoch', ''],
      ...owned.map(({ unit }) => [`subnets/${unit}`, '']),
    ];
  }

  #kernelState(daemon: HostDaemon): unknown {
    const { place, runDir } = daemon;
    const router = join(runDir, 'netns', 'router');
    const links = (pin: string): string[] =>
      (JSON.parse(this.underlay.run(pin, 'ip', '-j', 'link')) as { ifname: string }[])
        .map(({ ifname }) => ifname)
        .filter((name) => /^w[a-d]-/.test(name))
        .toSorted();
    type Route = { readonly dst: string; readonly dev: string; readonly gateway?: string };
    const routes = (JSON.parse(this.underlay.run(router, 'ip', '-j', 'route')) as Route[])
      .filter(({ dev }) => /^w[a-d]-/.test(dev))
      .map(({ dst, dev }) => `${dst} ${dev}`);
    const devices = links(router).filter((name) => /^w[ab]-/.test(name));
    return {
      links: [links(router), links(place.pin)],
      routes,
      devices: devices.map((name) => {
        const { privateKey, publicKey, peers } = wgShow(daemon, name);
        return { privateKey, publicKey, peers: peers.map(({ publicKey: key, allowed }) => `${key} ${allowed}`) };
      }),
      programs: programsIn(place.pin).map(({ link }) => link),
      files: keyFiles(daemon),
      seat: seatOf(daemon),
    };
  }

  #kernelWanted(daemon: HostDaemon, other: HostDaemon): unknown {
    const { name } = daemon.place;
    const { rotation, encrypts } = this.epoch();
    const [own, far] = [this.host(name), this.host(other.place.name)];
    const device = `${rotation % 2 === 0 ? 'wa' : 'wb'}-${name}`;
    // what was ever in clear can be again
    const clear = this.#usesClear(daemon) ? [`wc-${name}`, `wd-${name}`] : [];
    const file = rotation === 0 ? 'wireguard.key' : `wireguard-${rotation}.key`;
    const privateKey = readFileSync(join(daemon.stateDir, file), 'utf8').trim();
    expect(statSync(join(daemon.stateDir, file)).mode & 0o777).toBe(0o600);
    return {
      links: [[device, ...clear], clear.slice(1)],
      routes: [`${far.subnet} ${encrypts ? device : `wd-${name}`}`],
      devices: [
        {
          privateKey,
          publicKey: own.published.keys.map(({ publicKey }) => publicKey).join(' '),
          peers: far.published.keys.map(({ publicKey }) => `${publicKey} ${far.subnet}`),
        },
      ],
      programs: [device],
      files: [file],
      seat: [own.identity, own.subnet, rotation],
    };
  }

  #usesClear({ place }: HostDaemon): boolean {
    return this.underlay.run(place.pin, 'nft', 'list', 'tables').includes('culvert_clear');
  }
}

function keyFiles({ stateDir }: HostDaemon): string[] {
  return readdirSync(stateDir).filter((name) => name.startsWith('wireguard'));
}

function seatOf({ stateDir }: HostDaemon): unknown {
  const { identity, place } = JSON.parse(readFileSync(join(stateDir, 'cluster.json'), 'utf8')) as {
    identity: string;
    place: { subnet: string; rotations: number[] };
  };
  return [identity, place.subnet, ...place.rotations];
}

function draftsOf({ stateDir }: HostDaemon): string[] {
  return readdirSync(stateDir).filter((name) => name.endsWith('.new'));
}
