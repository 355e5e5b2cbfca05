import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LabEtcd } from '../../lab/etcd.ts';
import { LastWill } from '../../lab/last-will.ts';
import { Underlay, type UnderlayHost } from '../../lab/underlay.ts';
import type { SandboxResource } from '../../src/api/client/client.ts';
import { Daemon } from '../daemon.ts';
import { Figures } from '../figures.ts';
import { Ledger } from '../ledger.ts';
import type { Narrator } from '../narrator.ts';
import { RunFolder } from '../run-folder.ts';

const POOL = { microvm: 0, netns: 4, bridge: 0 };

/**
 * The program that encrypts outlives its daemon, and ends with its socket. One may be just about to make it, so there is a
 * second look.
 */
const WILL = 'for round in 1 2 3 4 5; do rm -rf "$1"/*/run/wireguard; sleep 0.2; done';

/** A host of the cluster. */
export type Host = { readonly name: string; readonly place: UnderlayHost; readonly daemon: Daemon };

/** A sandbox, and the host that it is on. */
export type Placed = { readonly sandbox: SandboxResource; readonly host: Host };

/**
 * All that the demo of a cluster runs on; everything is gone when it is disposed of.
 *
 *     h1 ──┐
 *     h2 ──┤ one network ── router ──┬── h3
 *                                    └── registry: etcd
 */
export class ClusterStage implements Disposable {
  readonly narrator: Narrator;
  readonly figures = new Figures();
  readonly ledger = new Ledger(0);
  readonly underlay: Underlay;
  readonly #stack = new DisposableStack();
  readonly #folder: RunFolder;
  readonly #registry: UnderlayHost;
  #etcd: LabEtcd | undefined;
  #hosts: readonly Host[] = [];
  #sandboxes: readonly Placed[] = [];

  constructor(narrator: Narrator) {
    this.narrator = narrator;
    try {
      this.#folder = this.#stack.use(new RunFolder());
      this.underlay = this.#stack.use(new Underlay(4, { far: 2 }));
      this.#stack.use(new LastWill(WILL, this.underlay.folder));
      const registry = this.underlay.hosts.at(-1);
      if (registry === undefined) throw new Error('There are four');
      this.#registry = registry;
    } catch (error) {
      this.#stack.dispose();
      throw error;
    }
  }

  /** Starts etcd, then all daemons at once. */
  async start(): Promise<void> {
    const etcd = this.#stack.use(await LabEtcd.start({ on: this.#registry }));
    this.#etcd = etcd;
    const registry = `etcd://${etcd.endpoints.join(',')}/demo`;
    this.#hosts = this.underlay.hosts.slice(0, -1).map((place) => {
      const { name, pin: netns } = place;
      const folder = join(this.#folder.path, name);
      mkdirSync(folder);
      const daemon = new Daemon({ netns, runDir: join(place.folder, 'run'), folder, name, registry });
      return { name, place, daemon: this.#stack.use(daemon) };
    });
    await Promise.all(this.#hosts.map((host) => this.up(host)));
  }

  /** Starts the daemon of a host, on what the one before has left. @returns ms until it was ready */
  up({ daemon }: Host): Promise<number> {
    return daemon.up(POOL);
  }

  get etcd(): LabEtcd {
    if (this.#etcd === undefined) throw new Error('It has not started');
    return this.#etcd;
  }

  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  host(name: string): Host {
    const found = this.#hosts.find((host) => host.name === name);
    if (found === undefined) throw new Error(`There is no host ${name}`);
    return found;
  }

  get sandboxes(): readonly Placed[] {
    return this.#sandboxes;
  }

  take(sandboxes: readonly Placed[]): void {
    for (const { sandbox } of sandboxes) this.ledger.handOut(sandbox);
    this.#sandboxes = [...this.#sandboxes, ...sandboxes];
  }

  /** One of a group on a host. @param group undefined for none */
  one(group: string | undefined, host: string): Placed {
    const found = this.#sandboxes.find((one) => one.sandbox.group === group && one.host.name === host);
    if (found === undefined) throw new Error(`Nobody of ${group ?? 'no group'} is on ${host}`);
    return found;
  }

  /** Ends it with all that this is disposed of. */
  use<T extends Disposable>(what: T): T {
    return this.#stack.use(what);
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
