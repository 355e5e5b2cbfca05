import type { Ipv4 } from '../../addr/ipv4.ts';
import { formatPrefix, prefixHas } from '../../addr/prefix.ts';
import type { Clock } from '../../clock.ts';
import { followHosts, type HostChange, Hosts, type KnownHost } from '../../cluster/hosts.ts';
import type { JoinRequest } from '../../cluster/join.ts';
import { CLUSTER } from '../../cluster/keys.ts';
import { EXPELS, Member, type MemberParts, type Standing } from '../../cluster/member.ts';
import { type EpochRecord, readCluster } from '../../cluster/records.ts';
import type { Lease, Registry } from '../../cluster/registry.ts';
import { removeHost } from '../../cluster/remove.ts';
import { CulvertError } from '../../errors.ts';
import type { HostKey, MeshPeer, PeerChange } from '../../mesh/peers.ts';
import { type Published, readPeer, readPublished, reasonOf, writePublished } from '../../mesh/published.ts';
import type { NewEvent, Problem } from '../../sandbox/event.ts';
import type { HostView } from '../engine.ts';
import { assertSubnet, type Place, type Seat, writeSeat } from './seat.ts';

/** How long what is remembered of the peers is not written again; changes that come meanwhile go together. */
const REMEMBER_MS = 1000;
/** How often a host that could not join tries again, and how often following is begun anew where it was refused. */
const RETRY_MS = 2000;

export type ClusterParts = {
  readonly registry: Registry;
  readonly request: Omit<JoinRequest, 'published'>;
  /** what it tells the others of itself */
  readonly published: Published;
  /** how all send to each other, as it is when it starts */
  readonly epoch: EpochRecord;
  readonly holdMs: number;
  readonly stateDir: string;
  readonly clock: Clock;
  /** name of the link that the host reaches the others by */
  readonly uplink: string | undefined;
  /** whether an address is a neighbour's on that link */
  readonly isOnLink: (address: Ipv4) => boolean;
};

/** Heard by who runs the mesh. */
export type ClusterEars = {
  /** @param isAll whether those that were not told of are no more: not before the registry has been heard */
  readonly peersChanged: (changes: readonly PeerChange[], isAll: boolean) => void;
  readonly emit: (event: NewEvent) => void;
  /** What is known of that host is another than before. */
  readonly hostChanged: (name: string) => void;
  /** What was written under the lease of its hold is to be written again. */
  readonly leased: () => void;
};

/** ms that a host is taken for alive after it was last heard of */
const ALIVE_MS = 10_000;

/**
 * The host's place in a cluster, and what it knows of the others. It is there before the registry is, where it was in
 * the cluster before: then it goes on with what it remembers, and joins when it can.
 */
export class Cluster {
  readonly #parts: ClusterParts;
  readonly #hosts: Hosts;
  readonly #peers = new Map<string, MeshPeer>();
  /** Why a host is no peer, by its name. */
  readonly #unusable = new Map<string, string>();
  readonly #giveUp = new AbortController();
  #member: Member | undefined;
  #seat: Seat & { readonly place: Place };
  #published: Published;
  #ears: ClusterEars | undefined;
  #joining: NodeJS.Timeout | undefined;
  #remembering: NodeJS.Timeout | undefined;
  /** whether more is known of the peers than is remembered */
  #isOutdated = false;
  #wasComplete = false;
  /** why it does not hear of other hosts */
  #deafness: Problem | undefined;
  /** how it stands where it is not in the cluster now */
  #absence: Exclude<Standing, { kind: 'joined' }> | undefined;

  private constructor(parts: ClusterParts, seat: Seat & { readonly place: Place }, member: Member | undefined) {
    this.#parts = parts;
    this.#seat = seat;
    this.#member = member;
    this.#published = parts.published;
    this.#hosts = new Hosts(seat.place.peers.map(({ name }) => name));
    for (const peer of seat.place.peers)
      this.#peers.set(peer.name, { ...peer, isOnLink: parts.isOnLink(peer.address) });
  }

  /**
   * Joins, or comes back to the place that it had.
   *
   * @throws CulvertError, InputError as `join` does; `registry_unavailable` only where it has had no place before
   */
  static async enter(parts: ClusterParts, seat: Seat): Promise<Cluster> {
    const { stateDir } = parts;
    const former = seat.place;
    let cluster: Cluster | undefined;
    try {
      const member = await joinWith(parts, {
        changed: (standing) => {
          if (cluster !== undefined) cluster.#stand(standing);
        },
        leased: () => {
          if (cluster !== undefined) cluster.#ears?.leased();
        },
      });
      const place = placeOf(parts, member, former?.peers ?? []);
      writeSeat(stateDir, { ...seat, place });
      cluster = new Cluster(parts, { ...seat, place }, member);
      return cluster;
    } catch (error) {
      const isAway = error instanceof CulvertError && error.code === 'registry_unavailable';
      if (!isAway || former === undefined) throw error;
      cluster = new Cluster(parts, { ...seat, place: former }, undefined);
      cluster.#absence = { kind: 'away', sinceMs: parts.clock.monotonicMs(), reason: error.message };
      return cluster;
    }
  }

  get place(): Place {
    return this.#seat.place;
  }

  /** Those that are known, in the registry or from before. */
  get peers(): ReadonlyMap<string, MeshPeer> {
    return this.#peers;
  }

  get uplink(): string | undefined {
    return this.#parts.uplink;
  }

  get registry(): Registry {
    return this.#parts.registry;
  }

  /** Tells the others which keys it has, now or when the registry is back. */
  async publishKeys(keys: readonly HostKey[]): Promise<void> {
    this.#published = { ...this.#published, keys };
    await this.#member?.publish(writePublished(this.#published));
  }

  /** Is told what is to be known after a start with the registry away. */
  rememberEpoch(epoch: EpochRecord, rotations: readonly number[]): void {
    this.#seat = { ...this.#seat, place: { ...this.place, epoch, rotations } };
    this.#remember();
  }

  /** Names of the hosts that are alive, as the registry has it. */
  get alive(): string[] {
    return [...this.#hosts.all.values()].filter(({ isAlive }) => isAlive).map(({ name }) => name);
  }

  /** See {@link Member.alive}. */
  get aliveLease(): Lease | undefined {
    return this.#member?.alive;
  }

  /** See {@link Member.hold}. */
  get hold(): Lease | undefined {
    return this.#member?.hold;
  }

  /** Whether an address is of a host's subnet, as the registry has it. */
  isOf(host: string, address: Ipv4): boolean {
    const known = this.#hosts.all.get(host);
    return known !== undefined && prefixHas(known.record.subnet, address);
  }

  /** Begins to follow the others, and to join where it has not. */
  follow(ears: ClusterEars): void {
    this.#ears = ears;
    if (this.#member === undefined) this.#joinLater();
    void this.#followHosts();
  }

  /**
   * An address that may be another host's is given to nobody.
   *
   * @throws CulvertError `expelled`; `subnet_uncertain` where it was not heard of for as long as its subnet is held
   */
  assertMayCreate(): void {
    const standing = this.#standing;
    if (standing.kind === 'expelled') throw new CulvertError('expelled', standing.reason);
    const { clock, holdMs, registry } = this.#parts;
    if (standing.kind === 'joined' || clock.monotonicMs() - standing.sinceMs < holdMs) return;
    const message = `Cannot give out addresses of ${formatPrefix(this.place.subnet)}: the registry ${registry.name} was away for as long as they are held, so another host may have them; bring it back`;
    throw new CulvertError('subnet_uncertain', message);
  }

  /** All hosts that the registry tells of, by name. */
  hosts(): HostView[] {
    return [...this.#hosts.all.values()].map((host) => this.#viewOf(host)).toSorted(byName);
  }

  /** See {@link removeHost}. */
  async removeHost(name: string): Promise<void> {
    const units = await removeHost(this.#parts.registry, name);
    const { unit } = this.place;
    this.#emit('cluster.host_removed', `Host ${name} was removed by hand; ${units} subnets of /${unit} are free`);
  }

  /** What a person has to see to. */
  problems(): Problem[] {
    const { registry, clock } = this.#parts;
    const standing = this.#standing;
    const unusable = [...this.#hosts.unreadable, ...this.#unusable].map(([name, reason]) => ({
      code: 'peer_unreadable',
      message: `No traffic with host ${name}: ${reason}`,
    }));
    if (this.#deafness !== undefined) unusable.push(this.#deafness);
    if (standing.kind === 'expelled') return [{ code: 'expelled', message: standing.reason }, ...unusable];
    if (standing.kind === 'joined') return unusable;
    const seconds = Math.round((clock.monotonicMs() - standing.sinceMs) / 1000);
    const still = 'what runs goes on, and no other host learns of changes';
    const message = `The registry ${registry.name} is away for ${seconds} s; ${still}: ${standing.reason}`;
    return [{ code: 'registry_away', message }, ...unusable];
  }

  get #standing(): Standing {
    return this.#member?.standing ?? this.#absence ?? { kind: 'joined' };
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
    const { identity } = this.#seat;
    // what was given back may be another's by now
    if (this.#member !== undefined) writeSeat(this.#parts.stateDir, { identity });
  }

  async #end(leave: (member: Member) => Promise<void>): Promise<void> {
    this.#giveUp.abort();
    clearTimeout(this.#joining);
    clearTimeout(this.#remembering);
    if (this.#isOutdated) this.#remember();
    try {
      if (this.#member !== undefined) await leave(this.#member);
    } finally {
      await this.#parts.registry[Symbol.asyncDispose]();
    }
  }

  #joinLater(): void {
    this.#joining = setTimeout(() => void this.#joinAgain(), RETRY_MS);
  }

  async #joinAgain(): Promise<void> {
    try {
      const { place } = this;
      const request = { ...this.#parts.request, clusterId: place.clusterId, bound: place.subnet };
      const member = await joinWith(
        { ...this.#parts, request, published: this.#published },
        { changed: (standing) => this.#stand(standing), leased: () => this.#ears?.leased() },
      );
      if (this.#giveUp.signal.aborted) return await member.stop({ keepsSubnet: true });
      this.#member = member;
      this.#absence = undefined;
      this.#emit('cluster.joined', `Back in the cluster as ${place.name}`);
      this.#ears?.leased();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const isFinal = error instanceof CulvertError && EXPELS.has(error.code);
      if (isFinal && this.#absence?.kind !== 'expelled') this.#emit('cluster.expelled', reason);
      const sinceMs = this.#absence?.kind === 'away' ? this.#absence.sinceMs : this.#parts.clock.monotonicMs();
      this.#absence = isFinal ? { kind: 'expelled', reason } : { kind: 'away', sinceMs, reason };
      if (!this.#giveUp.signal.aborted) this.#joinLater();
    }
  }

  async #followHosts(): Promise<void> {
    const { signal } = this.#giveUp;
    try {
      const isOurs = (): Promise<void> => this.#assertOurs();
      await followHosts(this.#parts.registry, this.#hosts, (changes) => this.#take(changes), { isOurs, signal });
    } catch (error) {
      if (signal.aborted) return;
      this.#deaf(error);
      setTimeout(() => void this.#followHosts(), RETRY_MS).unref();
    }
  }

  #deaf(error: unknown): void {
    const code = error instanceof CulvertError ? error.code : '';
    // what is away for a moment is told by how the host stands
    if (code === 'registry_unavailable') return;
    const message = error instanceof Error ? error.message : String(error);
    if (this.#deafness?.message !== message) this.#emit('cluster.unreadable', message);
    this.#deafness = { code: code === 'cluster_foreign' ? 'registry_foreign' : 'registry_unheard', message };
  }

  /** Whoever is in a registry that was emptied, or is another cluster's, is no peer, and nobody of ours is gone. */
  async #assertOurs(): Promise<void> {
    const { registry } = this.#parts;
    const found = await registry.get(CLUSTER);
    const id = found === undefined ? undefined : readCluster(found.value).id;
    if (id !== this.place.clusterId) {
      const what = id === undefined ? 'there is no cluster' : `there is cluster ${id}`;
      const message = `Cannot follow cluster ${this.place.clusterId} in ${registry.name}: ${what}`;
      throw new CulvertError('cluster_foreign', message);
    }
    this.#deafness = undefined;
  }

  #take(changes: readonly HostChange[]): void {
    const own = this.#parts.request.name;
    const turned = changes.flatMap((change) => {
      if (change.name !== own) return this.#peerChange(change) ?? [];
      this.#member?.see(change.host?.record);
      return [];
    });
    for (const { name } of changes) this.#ears?.hostChanged(name);
    const { isComplete } = this.#hosts;
    if (turned.length === 0 && isComplete === this.#wasComplete) return;
    this.#wasComplete = isComplete;
    this.#ears?.peersChanged(turned, isComplete);
    this.#rememberSoon();
  }

  /** At once, and then no more often than once in a while. */
  #rememberSoon(): void {
    if (this.#remembering !== undefined) {
      this.#isOutdated = true;
      return;
    }
    this.#remember();
    this.#remembering = setTimeout(() => {
      this.#remembering = undefined;
      if (this.#isOutdated) this.#rememberSoon();
    }, REMEMBER_MS);
  }

  #viewOf({ name, record, isAlive }: KnownHost): HostView {
    const { subnet, generation, version } = record;
    const isSelf = name === this.#parts.request.name;
    const common = { name, isSelf, isAlive, subnet, generation, version };
    try {
      const problem = this.#hosts.unreadable.get(name);
      return { ...common, mesh: readPublished(record.published), ...(problem === undefined ? {} : { problem }) };
    } catch (error) {
      return { ...common, problem: reasonOf(error) };
    }
  }

  /** undefined where nothing that the mesh knows of it has changed */
  #peerChange({ name, host }: HostChange): PeerChange | undefined {
    const former = this.#peers.get(name);
    this.#unusable.delete(name);
    if (host === undefined) {
      // one whose record cannot be read stands as it did
      if (former === undefined || this.#hosts.unreadable.has(name)) return undefined;
      this.#peers.delete(name);
      return { name, peer: undefined };
    }
    try {
      const { subnet, published } = host.record;
      assertSubnet(this.place, subnet);
      const peer = readPeer(name, subnet, published, this.#parts.isOnLink);
      if (JSON.stringify(peer) === JSON.stringify(former)) return undefined;
      this.#peers.set(name, peer);
      return { name, peer };
    } catch (error) {
      this.#unusable.set(name, reasonOf(error));
      return undefined;
    }
  }

  #remember(): void {
    this.#isOutdated = false;
    this.#seat = { ...this.#seat, place: { ...this.place, peers: [...this.#peers.values()] } };
    try {
      writeSeat(this.#parts.stateDir, this.#seat);
    } catch (error) {
      this.#emit('daemon.problem', error instanceof Error ? error.message : String(error));
    }
  }

  #stand(standing: Standing): void {
    if (standing.kind === 'joined') this.#emit('cluster.joined', 'The registry is there again');
    else this.#emit(`cluster.${standing.kind}`, standing.reason);
  }

  #emit(type: string, message: string): void {
    this.#ears?.emit({ type, message });
  }
}

function byName(one: HostView, other: HostView): number {
  return one.name.localeCompare(other.name, 'en', { numeric: true });
}

function joinWith(parts: ClusterParts, heard: Pick<MemberParts, 'changed' | 'leased'>): Promise<Member> {
  const { registry, holdMs, clock } = parts;
  const request = { ...parts.request, published: writePublished(parts.published) };
  const timing = { alive_ms: ALIVE_MS, hold_ms: holdMs };
  return Member.join({ registry, request, timing, nowMs: () => clock.monotonicMs(), ...heard });
}

function placeOf(
  { request, epoch, published }: ClusterParts,
  { membership }: Member,
  peers: readonly MeshPeer[],
): Place {
  const { cluster, host } = membership;
  const { id: clusterId, range, unit } = cluster;
  return {
    clusterId,
    name: request.name,
    subnet: host.subnet,
    range,
    unit,
    peers,
    epoch,
    rotations: published.keys.map(({ rotation }) => rotation),
  };
}
