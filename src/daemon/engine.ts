import type { Prefix } from '../addr/prefix.ts';
import type { Wish } from '../cluster/epoch.ts';
import type { EpochRecord, Phase } from '../cluster/records.ts';
import type { Counts } from '../dns/desk.ts';
import type { SandboxId, Slot, Topology } from '../ipam/lease.ts';
import type { MeshOrders, PeerTraffic } from '../mesh/host-mesh.ts';
import type { SteeredCourse } from '../mesh/mesh.ts';
import type { PeerChange } from '../mesh/peers.ts';
import type { Published } from '../mesh/published.ts';
import type { CulvertEvent, Problem } from '../sandbox/event.ts';
import type { MemberNews, OwnMember } from '../sandbox/groups.ts';
import type { CreateRequest, LeaseView, Removal, SandboxChange } from '../sandbox/request.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { ProbeSockets } from './probes/sockets.ts';

export type { CulvertEvent } from '../sandbox/event.ts';
export type { CreateRequest, LeaseView, Removal, SandboxChange } from '../sandbox/request.ts';

export type Status = {
  readonly name: string;
  readonly version: string;
  readonly pid: number;
  /** ms since the epoch */
  readonly startedWallMs: number;
  readonly live: Readonly<Record<Topology, number>>;
  /** networks that are ready and wait for an owner */
  readonly warm: Readonly<Record<Topology, number>>;
  readonly quarantined: number;
  readonly removing: number;
  readonly freeSlots: number;
  /** Some sandboxes of an earlier run are not verified yet. */
  readonly adopting: boolean;
  /** bytes, of every link of every sandbox */
  readonly mtu: number;
  /** entries of connection tracking, and how many each of the two may have */
  readonly flows: { readonly root: number; readonly router: number; readonly most: number };
  /** questions for names, by what became of them; absent where none is answered */
  readonly names?: Counts;
  /** Since when the host takes no new sandboxes, ms since the epoch; absent where it does. */
  readonly drainingSinceWallMs?: number;
  /** What a person should act on; empty where all is well. */
  readonly problems: readonly Problem[];
};

/** A host of the cluster, as the registry shows it. */
export type HostView = {
  readonly name: string;
  /** whether it is the one that is asked */
  readonly isSelf: boolean;
  /** whether it was heard of in the last seconds; one that was not keeps its place; absent where the registry is away */
  readonly isAlive?: boolean;
  /** what follows is absent where its record cannot be read, or the registry has yet to tell of it */
  readonly subnet?: Prefix;
  readonly generation?: number;
  readonly version?: string;
  readonly mesh?: Published;
  /** why there is no traffic with it */
  readonly problem?: string;
};

/** How this host and one other go together. */
export type MeshPeerView = {
  readonly name: string;
  /** absent where the registry is away */
  readonly isAlive?: boolean;
  /** how it is sent to, and how it sends; absent where that is not known */
  readonly sends?: 'encrypted' | 'clear';
  readonly hears?: 'encrypted' | 'clear';
  /** where it is sent to in clear: whether that is wrapped, by VXLAN, or goes as it is */
  readonly isWrapped?: boolean;
  /** whether it is heard in clear */
  readonly acceptsClear: boolean;
  /** bytes, of the largest IP packet that passes there, and back; absent where that is not known */
  readonly pathMtu?: number;
  readonly pathMtuBack?: number;
  readonly roundTripMs?: number;
  /** ms since an answer, and since a handshake of WireGuard; absent for never */
  readonly answeredMsAgo?: number;
  readonly handshakeMsAgo?: number;
  /** bytes, of encrypted packets */
  readonly received: number;
  readonly sent: number;
};

/** How far a host has come with the epoch. */
export type MeshProgressView = {
  readonly name: string;
  /** absent where the registry is away */
  readonly isAlive?: boolean;
  /** absent where it has told nothing */
  readonly number?: number;
  readonly reached?: Phase;
  readonly waitsFor: readonly string[];
};

export type MeshView = {
  readonly epoch: EpochRecord;
  readonly progress: readonly MeshProgressView[];
  readonly peers: readonly MeshPeerView[];
};

/**
 * The port between those who ask (the HTTP API) and the one who owns leases and kernel. Each call is atomic, and its
 * promise settles when the change is durable and in the kernel. Every rejection is a CulvertError; an InputError is
 * the caller's mistake and has changed nothing.
 */
export interface Engine {
  /**
   * All or none. An id that exists with the same specification is returned as it is.
   *
   * @throws InputError `sandbox_exists` naming the difference; CulvertError `draining`, `slots_exhausted`,
   *   `bridge_exhausted`, `store_*`
   */
  create(requests: readonly CreateRequest[]): Promise<Sandbox[]>;
  /**
   * Lays a change over what the sandbox has at that moment.
   *
   * @throws CulvertError `sandbox_unknown`; InputError `invalid_rate`
   */
  update(id: SandboxId, change: SandboxChange): Promise<Sandbox>;
  /**
   * All or none; returns when the sandboxes are cut off, and cleans up after.
   *
   * @throws CulvertError `sandbox_unknown`
   */
  remove(ids: readonly SandboxId[]): Promise<Removal[]>;
  list(): Promise<Sandbox[]>;
  /** @throws CulvertError `sandbox_unknown` */
  inspect(id: SandboxId): Promise<Sandbox>;
  /** Every slot that is not free, by slot. */
  leases(): Promise<LeaseView[]>;
  /**
   * Frees a quarantined slot before its time. Without `force` only one whose flush is verified.
   *
   * @throws CulvertError `lease_state` where the slot is not in quarantine, or needs `force`
   */
  release(slot: Slot, options: { readonly force: boolean }): Promise<LeaseView>;
  /** The difference between what should be and what is, a line per operation, applied unless `dryRun`. */
  reconcile(options: { readonly dryRun: boolean }): Promise<{ readonly plan: string[]; readonly applied: boolean }>;
  status(): Promise<Status>;
  /**
   * Takes in what other hosts of the cluster tell, in the order of the calls.
   *
   * @param isAll whether those that were not told of are no more
   */
  updatePeers(changes: readonly PeerChange[], isAll: boolean): Promise<void>;
  /** Takes in who is in a group on other hosts, in the order of the calls. */
  updateMembers(news: readonly MemberNews[]): Promise<void>;
  /** Hosts of the cluster, by name. @throws InputError `no_cluster` where the host is in none */
  hosts(): Promise<HostView[]>;
  /** The mesh as this host knows it. @throws InputError `no_cluster`; CulvertError `registry_*` */
  mesh(): Promise<MeshView>;
  /**
   * Wishes the mesh to be otherwise; every host goes there by itself, step by step.
   *
   * @returns the epoch that leads there, or the current one where that is as wished
   * @throws InputError `no_cluster`, `epoch_under_way`, `mtu_too_large` where a host cannot take that; CulvertError
   *   `registry_*`
   */
  changeMesh(wish: Wish): Promise<EpochRecord>;
  /**
   * Takes a host out of the cluster that is gone for good.
   *
   * @throws InputError `no_cluster`, `host_unknown`; CulvertError `host_alive`, `registry_*`
   */
  removeHost(name: string): Promise<void>;
  /**
   * Says whether the host takes new sandboxes, for good; what runs goes on either way.
   *
   * @throws CulvertError `draining_file`
   */
  setDraining(isDraining: boolean): Promise<void>;
  /** Removes every sandbox and everything else that is Culvert's on this host. */
  purge(): Promise<void>;
  /**
   * Calls `listener`, in order and in this process, until the returned function is called. It must not throw. The first
   * one gets what happened before it, too.
   */
  subscribe(listener: (event: CulvertEvent) => void): () => void;
  /** Stops, and leaves the sandboxes running. */
  close(): Promise<void>;
}

/** The part of it that those hear who tell others of this host's sandboxes. */
export interface MemberSource {
  /** Calls `listener`, the only one, with who of this host is in a group, at first all, and who leaves one. */
  watchMembers(listener: (members: readonly OwnMember[]) => void): void;
}

/** What of orders is so by now; the rest is when they are given again. */
export type Steered = {
  /** not before a device that starts is there */
  readonly isSteered: boolean;
  /** whether all links are known to have the size */
  readonly isSized: boolean;
};

/** The part of it that steers the mesh of its host. */
export interface MeshSource {
  /** by which hosts ask each other whether packets pass */
  readonly probes: ProbeSockets;
  /** Goes by other ways, and has other devices and links of another size. */
  steer(orders: MeshOrders): Promise<Steered>;
  /** By which way each host is sent to, as the kernel has it. */
  courses(): Promise<readonly (readonly [name: string, course: SteeredCourse])[]>;
  traffic(): Promise<readonly PeerTraffic[]>;
}
