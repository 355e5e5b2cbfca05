import { LabEtcd } from '../../lab/etcd.ts';
import { Underlay } from '../../lab/underlay.ts';
import type { CreateBody, MeshBody, SandboxResource } from '../../src/api/client/client.ts';
import { until } from '../until.ts';
import { ClusterDaemon, type ClusterDaemonOptions } from './cluster-daemon.ts';

const PATIENCE_MS = 60_000;
/** Who asks takes the processor from who is asked. */
const POLL_MS = 50;

/** A sandbox, and the daemon that has it. */
export type Placed = { readonly sandbox: SandboxResource; readonly daemon: ClusterDaemon };

/**
 * Hosts of one network, a daemon on each, and the etcd that they agree in on the first:
 *
 *     h1 (etcd) ── h2 ── h3 ── …
 */
export class MeshCluster implements AsyncDisposable {
  readonly underlay: Underlay;
  readonly etcd: LabEtcd;
  readonly daemons: readonly ClusterDaemon[];
  readonly #opened: AsyncDisposableStack;

  private constructor(
    underlay: Underlay,
    etcd: LabEtcd,
    daemons: readonly ClusterDaemon[],
    opened: AsyncDisposableStack,
  ) {
    this.underlay = underlay;
    this.etcd = etcd;
    this.daemons = daemons;
    this.#opened = opened;
  }

  /** Returns when packets of the full size pass between all of them. */
  static async start(count: number, options: ClusterDaemonOptions = {}): Promise<MeshCluster> {
    await using opened = new AsyncDisposableStack();
    const underlay = opened.use(new Underlay(count));
    const [on] = underlay.hosts;
    if (on === undefined) throw new RangeError('Cannot make a cluster of no hosts');
    const etcd = opened.use(await LabEtcd.start({ on }));
    const registry = `etcd://${etcd.endpoints.join(',')}/bench`;
    const daemons = underlay.hosts.map((place) => opened.use(new ClusterDaemon(place, registry, options)));
    await Promise.all(daemons.map((daemon) => daemon.ready()));
    await until('packets of the full size pass between all', PATIENCE_MS, () => areWhole(daemons), POLL_MS);
    return new MeshCluster(underlay, etcd, daemons, opened.move());
  }

  /** @param index of the host */
  daemon(index: number): ClusterDaemon {
    const found = this.daemons[index];
    if (found === undefined) throw new RangeError(`There is no host ${index}`);
    return found;
  }

  async create(index: number, body: CreateBody): Promise<Placed> {
    const daemon = this.daemon(index);
    const [sandbox] = await daemon.client.create(body);
    if (sandbox === undefined) throw new Error(`${body.id} was not created`);
    return { sandbox, daemon };
  }

  /** Has it changed at one host. @returns ms until all hosts have come there */
  async change(index: number, wish: MeshBody): Promise<number> {
    const begin = performance.now();
    const { number } = await this.daemon(index).client.changeMesh(wish);
    await until('all hosts have come there', PATIENCE_MS, () => this.isDone(number), POLL_MS);
    return performance.now() - begin;
  }

  /** Whether every host is done with an epoch, and sends as it says to each other one. */
  async isDone(number: number): Promise<boolean> {
    const meshes = await Promise.all(this.daemons.map(({ client }) => client.mesh()));
    return meshes.every(({ epoch, peers }) => {
      const word = epoch.encrypts ? 'encrypted' : 'clear';
      const isThere = peers.every(({ sends, acceptsClear }) => sends === word && acceptsClear === !epoch.encrypts);
      return epoch.number === number && epoch.phase === 'done' && isThere;
    });
  }

  /** Frees what it has opened, and every process of it ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

/** Whether each host knows each way to each other one to carry packets of the full size, there and back. */
async function areWhole(daemons: readonly ClusterDaemon[]): Promise<boolean> {
  const states = await Promise.all(
    daemons.map(async ({ client }) => ({ mesh: await client.mesh(), status: await client.status() })),
  );
  return states.every(({ mesh: { peers }, status: { mtu } }) => {
    const isWhole = peers.every(({ pathMtu, pathMtuBack }) => pathMtu === mtu && pathMtuBack === mtu);
    return peers.length === daemons.length - 1 && isWhole;
  });
}
