import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../../clock.ts';
import { readAllProgress } from '../../cluster/conductor.ts';
import { beginEpoch, type Wish } from '../../cluster/epoch.ts';
import type { EpochRecord } from '../../cluster/records.ts';
import { unlessAway } from '../../cluster/registry.ts';
import type { PeerChange } from '../../mesh/peers.ts';
import type { CreateRequest, Engine, MemberSource, MeshSource, MeshView, Status } from '../engine.ts';
import { EngineOver } from '../engine-over.ts';
import type { Directory } from '../groups/directory.ts';
import { ProblemNews } from '../problem-news.ts';
import { assertAllTake } from './all-take.ts';
import type { Cluster } from './cluster.ts';
import type { KeyRing } from './key-ring.ts';
import { KeyRotation } from './key-rotation.ts';
import { Memberships } from './memberships.ts';
import { meshView } from './mesh-view.ts';
import { Steering } from './steering/steering.ts';

const TELL_AGAIN_MS = 1000;
/** How long who stops tries to tell others so. */
const TELL_STOPPED_MS = 5000;
/** How often it is looked whether the cluster has a problem. */
const LOOK_MS = 1000;

export type ClusteredParts = {
  readonly cluster: Cluster;
  /** is told who is in a group, here and elsewhere */
  readonly directory: Directory;
  readonly keys: KeyRing;
  /** after which all hosts are to have new keys; undefined for never */
  readonly rotateKeysEveryMs?: number | undefined;
  readonly clock: Clock;
  /** takes note of what could not be told to the cluster in the end */
  readonly report: (error: unknown) => void;
};

/** An engine that is more than its host: what other hosts tell goes to it, and its place goes when it does. */
export class ClusteredEngine<Inner extends Engine & MemberSource & MeshSource> extends EngineOver<Inner> {
  readonly #cluster: Cluster;
  readonly #memberships: Memberships;
  readonly #steering: Steering;
  readonly #keyRotation: KeyRotation | undefined;
  /** Changes of peers that the engine has not taken yet, by name. */
  readonly #owed = new Map<string, PeerChange>();
  readonly #looking: NodeJS.Timeout;
  #isAll = false;
  #hasLeft = false;

  readonly #report: (error: unknown) => void;
  readonly #clock: Clock;

  constructor(inner: Inner, { cluster, directory, keys, clock, report, ...parts }: ClusteredParts) {
    super(inner);
    this.#cluster = cluster;
    this.#report = report;
    this.#clock = clock;
    this.#memberships = new Memberships({
      registry: cluster.registry,
      host: cluster.place.name,
      lease: () => cluster.hold,
      isOf: (host, address) => cluster.isOf(host, address),
      directory,
      tell: (news) => inner.updateMembers(news),
    });
    inner.watchMembers((members) => {
      directory.takeOwn(members);
      this.#memberships.takeOwn(members);
    });
    this.#steering = new Steering(
      {
        registry: cluster.registry,
        name: cluster.place.name,
        lease: () => cluster.aliveLease,
        peers: () => cluster.peers,
        sockets: inner.probes,
        keys,
        rotations: cluster.place.rotations,
        links: cluster.linksMtu,
        room: () => cluster.roomMtu,
        steer: (orders) => inner.steer(orders),
        courses: () => inner.courses(),
        publish: (told) => cluster.publishKeys(told),
        remember: (epoch, rotations) => cluster.rememberEpoch(epoch, rotations),
        emit: (event) => this.listeners.publish(event),
        nowMs: () => clock.monotonicMs(),
      },
      cluster.place.epoch,
    );
    this.#steering.start().catch(report);
    const { rotateKeysEveryMs: everyMs } = parts;
    if (everyMs !== undefined) {
      this.#keyRotation = new KeyRotation({
        registry: cluster.registry,
        name: cluster.place.name,
        others: () => cluster.peers.keys(),
        isIn: () => cluster.aliveLease !== undefined,
        epoch: () => this.#steering.epoch,
        late: () => this.#steering.usesOldKeys,
        holdMs: cluster.holdMs,
        everyMs,
        clock,
        emit: (event) => this.listeners.publish(event),
      });
    }
    cluster.follow({
      hostChanged: (name) => this.#memberships.hostChanged(name),
      leased: () => {
        this.#memberships.leased();
        this.#steering.leased();
      },
      emit: (event) => this.listeners.publish(event),
      peersChanged: (changes, isAll) => {
        for (const change of changes) this.#owed.set(change.name, change);
        this.#isAll = isAll;
        if (isAll) this.#memberships.hostsKnown();
        void this.#tell();
        this.#steering.peersChanged(changes.map(({ name }) => name));
      },
    });
    // the engine tells of its own
    const news = new ProblemNews(
      () => cluster.problems(),
      (event) => this.listeners.publish(event),
    );
    this.#looking = setInterval(() => news.look(), LOOK_MS).unref();
  }

  override async create(requests: readonly CreateRequest[]): ReturnType<Engine['create']> {
    this.#cluster.assertMayCreate();
    return this.inner.create(requests);
  }

  override async status(): Promise<Status> {
    const status = await this.inner.status();
    return {
      ...status,
      problems: [
        ...status.problems,
        ...this.#cluster.problems(),
        ...this.#memberships.problems(),
        ...this.#steering.problems(),
        ...(this.#keyRotation?.problems() ?? []),
      ],
    };
  }

  /** What the engine does not take now it is told again: it is told of nothing else a second time. */
  async #tell(): Promise<void> {
    const changes = [...this.#owed.values()];
    this.#owed.clear();
    try {
      await this.inner.updatePeers(changes, this.#isAll);
    } catch (error) {
      this.listeners.publish({
        type: 'daemon.problem',
        message: error instanceof Error ? error.message : String(error),
      });
      // one that has changed again meanwhile is told as it is now
      for (const change of changes) if (!this.#owed.has(change.name)) this.#owed.set(change.name, change);
      if (!this.#hasLeft) setTimeout(() => void this.#tell(), TELL_AGAIN_MS).unref();
    }
  }

  override hosts(): ReturnType<Engine['hosts']> {
    return this.#cluster.hosts();
  }

  override removeHost(name: string): Promise<void> {
    return this.#cluster.removeHost(name);
  }

  override async mesh(): Promise<MeshView> {
    const { registry } = this.#cluster;
    const asked = [this.inner.traffic(), unlessAway(readAllProgress(registry)), this.#cluster.alive()] as const;
    const [traffic, progress = new Map(), alive] = await Promise.all(asked);
    return meshView(this.#cluster, this.#steering, { traffic, progress, alive, nowMs: this.#clock.monotonicMs() });
  }

  override async changeMesh(wish: Wish): Promise<EpochRecord> {
    const { registry } = this.#cluster;
    return beginEpoch(registry, wish, Date.now(), (current) => assertAllTake(registry, wish, current));
  }

  /** Other hosts are told of it when this returns, or when the registry is back. */
  override async setDraining(isDraining: boolean): Promise<void> {
    await this.inner.setDraining(isDraining);
    await this.#cluster.publishDraining(isDraining);
  }

  override async purge(): Promise<void> {
    await this.inner.purge();
    this.#leave();
    try {
      await this.#steering.stop();
      await this.#memberships.stop({ keeps: false });
      await this.#cluster.resign();
    } catch (error) {
      // nothing is left here to come back to: what the registry holds for it ends with the hold
      this.#report(error);
      const reason = error instanceof Error ? error.message : String(error);
      this.listeners.publish({ type: 'cluster.place_kept', message: `The place was not given back: ${reason}` });
    }
  }

  override async close(): Promise<void> {
    if (this.#hasLeft) return this.inner.close();
    const keepsSubnet = await this.#hasSandboxes();
    await this.#steering.stop();
    await this.inner.close();
    this.#leave();
    // with the registry away the hold says for how long the subnet stays its own
    await Promise.race([this.#tellStopped(keepsSubnet), pause(TELL_STOPPED_MS)]);
  }

  async #tellStopped(keepsSubnet: boolean): Promise<void> {
    await this.#memberships.stop({ keeps: keepsSubnet }).catch(this.#report);
    await this.#cluster.stop({ keepsSubnet }).catch(this.#report);
  }

  #leave(): void {
    this.#hasLeft = true;
    clearInterval(this.#looking);
    this.#keyRotation?.[Symbol.dispose]();
  }

  async #hasSandboxes(): Promise<boolean> {
    try {
      const { live } = await this.inner.status();
      return live.microvm + live.netns + live.bridge > 0;
    } catch (error) {
      this.#report(error);
      return true;
    }
  }
}
