import { formatIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { prefixHas } from '../../addr/prefix.ts';
import type { Clock } from '../../clock.ts';
import { type HostChange, Hosts } from '../../cluster/hosts.ts';
import type { JoinRequest } from '../../cluster/join-request.ts';
import { listAlive } from '../../cluster/liveness.ts';
import type { Member } from '../../cluster/member.ts';
import type { OwnRegistry } from '../../cluster/own-registry.ts';
import type { EpochRecord } from '../../cluster/records.ts';
import { type Lease, type Registry, unlessAway } from '../../cluster/registry.ts';
import { removeHost } from '../../cluster/remove.ts';
import type { HostKey, MeshPeer, PeerChange } from '../../mesh/peers.ts';
import type { Published } from '../../mesh/published.ts';
import { plainText } from '../../plain-text.ts';
import type { NewEvent, Problem } from '../../sandbox/event.ts';
import type { HostView } from '../engine.ts';
import { Following } from './following.ts';
import { type Alive, byName, hostViews } from './host-view.ts';
import { KnownPeers } from './known-peers.ts';
import { Memory } from './memory.ts';
import { Presence } from './presence.ts';
import { type Place, type Seat, writeSeat } from './seat.ts';
import type { Whereabouts } from './whereabouts.ts';

export type ClusterParts = {
  readonly registry: OwnRegistry;
  readonly request: Omit<JoinRequest, 'published' | 'mtu'>;
  /** what it tells the others of itself */
  readonly published: Published;
  /** how all send to each other, as it is when it starts */
  readonly epoch: EpochRecord;
  readonly holdMs: number;
  readonly stateDir: string;
  readonly clock: Clock;
  /** name of the link that the host reaches the others by */
  readonly uplink: string | undefined;
  /** absent where there is nothing to look at */
  readonly whereabouts?: Whereabouts | undefined;
  /** whether an address is a neighbour's on that link */
  readonly isOnLink: (address: Ipv4) => boolean;
};

/** How often it is looked whether others reach this host elsewhere. */
const LOOK_MS = 5000;

/** Heard by who runs the mesh. */
export type ClusterEars = {
  /** @param isAll whether those that were not told of are no more: not before the registry has been heard */
  readonly peersChanged: (changes: readonly PeerChange[], isAll: boolean) => void;
  readonly emit: (event: NewEvent) => void;
  /** What is known of that host is another than before. */
  readonly hostChanged: (name: string) => void;
  /** What was written under its leases is to be written again. */
  readonly leased: () => void;
};

/**
 * The host's place in a cluster, and what it knows of the others. It is there before the registry is, where it was in
 * the cluster before: then it goes on with what it remembers, and joins when it can.
 */
export class Cluster {
  readonly #parts: ClusterParts;
  readonly #presence: Presence;
  readonly #hosts: Hosts;
  readonly #following: Following;
  readonly #peers: KnownPeers;
  readonly #memory: Memory;
  #ears: ClusterEars | undefined;
  #looking: NodeJS.Timeout | undefined;
  #wasComplete = false;

  /** whether it has joined for the first time */
  readonly #isNew: boolean;

  private constructor(parts: ClusterParts, { identity, place: former }: Seat, presence: Presence) {
    const { registry, stateDir } = parts;
    this.#isNew = former === undefined;
    const { place } = presence;
    this.#parts = parts;
    this.#presence = presence;
    this.#hosts = new Hosts(place.peers.map(({ name }) => name));
    this.#peers = new KnownPeers(place, parts.isOnLink);
    this.#following = new Following({
      registry,
      hosts: this.#hosts,
      changed: (changes) => this.#take(changes),
      emit: (type, message) => this.#emit(type, message),
    });
    this.#memory = new Memory({
      stateDir,
      identity,
      place,
      peers: () => [...this.#peers.all.values()],
      failed: (error) => this.#emit('daemon.problem', error instanceof Error ? error.message : String(error)),
    });
  }

  /**
   * Joins, or comes back to the place that it had.
   *
   * @throws CulvertError, InputError as `join` does; `registry_unavailable` only where it has had no place before
   */
  static async enter(parts: ClusterParts, seat: Seat): Promise<Cluster> {
    let cluster: Cluster | undefined;
    const emit = (type: string, message: string): void => {
      if (cluster !== undefined) cluster.#emit(type, message);
    };
    const leased = (): void => {
      if (cluster !== undefined) cluster.#ears?.leased();
    };
    const presence = await Presence.enter({ ...parts, emit, leased }, seat.place);
    const { place } = presence;
    parts.registry.belongsTo(place.clusterId);
    if (presence.hasJoined) writeSeat(parts.stateDir, { ...seat, place });
    cluster = new Cluster(parts, seat, presence);
    return cluster;
  }

  get place(): Place {
    return this.#presence.place;
  }

  get registry(): Registry {
    return this.#parts.registry;
  }

  /** ms that a host which is lost has its subnet */
  get holdMs(): number {
    return this.#parts.holdMs;
  }

  get uplink(): string | undefined {
    return this.#parts.uplink;
  }

  /** bytes, of all links of this host when it starts */
  get linksMtu(): number {
    return this.#presence.linksMtu;
  }

  /** bytes of the IP packets of sandboxes that the uplink can take */
  get roomMtu(): number {
    return this.#presence.published.mtu;
  }

  /** Those that are known, in the registry or from before. */
  get peers(): ReadonlyMap<string, MeshPeer> {
    return this.#peers.all;
  }

  /** Names of the hosts that are alive; undefined where the registry is away. @throws CulvertError `registry_*` */
  alive(): Promise<Alive> {
    return unlessAway(listAlive(this.#parts.registry));
  }

  /** See {@link Member.alive}. */
  get aliveLease(): Lease | undefined {
    return this.#presence.alive;
  }

  /** See {@link Member.hold}. */
  get hold(): Lease | undefined {
    return this.#presence.hold;
  }

  /** Whether an address is of a host's subnet, as the registry has it. */
  isOf(host: string, address: Ipv4): boolean {
    const known = this.#hosts.all.get(host);
    return known !== undefined && prefixHas(known.record.subnet, address);
  }

  /** Tells the others which keys it has, now or when the registry is back. */
  publishKeys(keys: readonly HostKey[]): Promise<void> {
    return this.#presence.publish({ keys });
  }

  /** Likewise whether it takes no new sandboxes. */
  publishDraining(isDraining: boolean): Promise<void> {
    return this.#presence.publish({ isDraining });
  }

  /** Is told what is to be known after a start with the registry away. */
  rememberEpoch(epoch: EpochRecord, rotations: readonly number[]): void {
    this.#memory.take({ epoch, rotations });
  }

  /** Begins to follow the others, and to join where it has not. */
  follow(ears: ClusterEars): void {
    this.#ears = ears;
    this.#presence.begin();
    this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
    this.#following.begin();
  }

  /** See {@link Presence.assertMayCreate}. */
  assertMayCreate(): void {
    this.#presence.assertMayCreate();
  }

  /** See {@link hostViews}; which of them are alive only where the registry can be asked. @throws CulvertError `registry_*` */
  async hosts(): Promise<HostView[]> {
    const views = hostViews(this.#hosts, await this.alive(), this.#parts.request.name);
    return this.#hosts.isComplete ? views : [...views, ...this.#remembered(views)].toSorted(byName);
  }

  /** Those that the registry has yet to tell of, since it is away. */
  #remembered(views: readonly HostView[]): HostView[] {
    const { name, subnet } = this.place;
    const told = new Set(views.map((view) => view.name));
    return [{ name, subnet }, ...this.#peers.all.values()]
      .filter((host) => !told.has(host.name))
      .map((host) => ({ name: host.name, isSelf: host.name === name, subnet: host.subnet }));
  }

  /** See {@link removeHost}. */
  async removeHost(name: string): Promise<void> {
    const units = await removeHost(this.#parts.registry, name);
    const { unit } = this.place;
    this.#emit('cluster.host_removed', `Host ${name} was removed by hand; ${units} subnets of /${unit} are free`);
  }

  /** What a person has to see to. */
  problems(): Problem[] {
    const own = this.#presence.problem;
    const peers = [...this.#hosts.unreadable, ...this.#peers.unusable].map(([name, reason]) => {
      const who = name === this.place.name ? 'This host' : `Host ${plainText(name, 63)}`;
      const isKnown = this.#peers.all.has(name) || name === this.place.name;
      const message = isKnown
        ? `${who} stands as it did before, since what is told of it cannot be used: ${reason}`
        : `No traffic with host ${plainText(name, 63)}: ${reason}`;
      return { code: 'peer_unreadable', message };
    });
    return [...[own, this.#following.problem].filter((one) => one !== undefined), ...peers];
  }

  /** Ends its part for now. @param keepsSubnet where sandboxes live on */
  async stop({ keepsSubnet }: { readonly keepsSubnet: boolean }): Promise<void> {
    await this.#end((member) => member.stop({ keepsSubnet }));
  }

  /**
   * Gives back its place; no sandbox may be left.
   *
   * @throws CulvertError `registry_unavailable` where it is away: others get the place after the hold
   */
  async resign(): Promise<void> {
    await this.#end((member) => member.resign());
    // what was given back, or lost, may be another's by now
    if (this.#presence.hasJoined || this.#presence.isExpelled) this.#memory.forget();
  }

  /**
   * Ends its part where the daemon could not be started: one that has joined for the first time gives its place back, and
   * one without sandboxes has its subnet for the hold.
   *
   * @throws CulvertError `registry_*`
   */
  giveUp(): Promise<void> {
    return this.#isNew ? this.resign() : this.stop({ keepsSubnet: this.#parts.request.bound !== undefined });
  }

  async #end(leave: (member: Member) => Promise<void>): Promise<void> {
    clearInterval(this.#looking);
    this.#following.end();
    this.#memory.end();
    try {
      await this.#presence.end(leave);
    } finally {
      await this.#parts.registry[Symbol.asyncDispose]();
    }
  }

  #take(changes: readonly HostChange[]): void {
    const own = this.#parts.request.name;
    const turned = changes.flatMap((change) => {
      const { name, host } = change;
      if (name !== own) return this.#peers.take(change, this.#hosts.unreadable.has(name)) ?? [];
      this.#presence.see(host?.record);
      return [];
    });
    for (const { name } of changes) this.#ears?.hostChanged(name);
    const { isComplete } = this.#hosts;
    if (turned.length === 0 && isComplete === this.#wasComplete) return;
    this.#wasComplete = isComplete;
    this.#ears?.peersChanged(turned, isComplete);
    this.#memory.rememberSoon();
  }

  #look(): void {
    try {
      const news = this.#parts.whereabouts?.look();
      if (news === undefined) return;
      if (news.address !== undefined) {
        this.#emit('cluster.moved', `Other hosts reach this one at ${formatIpv4(news.address)} now`);
      }
      void this.#presence.publish(news);
    } catch (error) {
      this.#emit('daemon.problem', error instanceof Error ? error.message : String(error));
    }
  }

  #emit(type: string, message: string): void {
    this.#ears?.emit({ type, message });
  }
}
