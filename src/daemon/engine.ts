import type { Generation, LeaseState, SandboxId, Slot, Topology } from '../ipam/lease.ts';
import type { EgressPolicy } from '../sandbox/policy/policy.ts';
import type { Sandbox, Specification } from '../sandbox/sandbox.ts';
import type { Rates } from '../sandbox/topology/desired.ts';

/** One sandbox to create; where `id` is absent the engine makes one. */
export type CreateRequest = { readonly id?: SandboxId; readonly specification: Specification };

/** What to change of a running sandbox; what is absent stays, and `rates` replaces both directions. */
export type SandboxChange = { readonly policy?: EgressPolicy; readonly rates?: Rates };

/** A sandbox that is cut off, and which life of which slot it was. */
export type Removal = { readonly id: SandboxId; readonly generation: Generation; readonly slot: Slot };

/** A slot that is not free, as a person asks about it: who, since when, why, until when. */
export type LeaseView = {
  readonly slot: Slot;
  readonly generation: Generation;
  readonly state: LeaseState;
  /** The owner, in quarantine the last one; absent where the lease is, or was, the warm pool's. */
  readonly sandboxId?: SandboxId;
  /** Absent where the slot holds no network any more. */
  readonly topology?: Topology;
  /** ms since the epoch; absent for a free slot */
  readonly sinceWallMs?: number;
  /** Present exactly where `state` is `quarantined`; a slot is free when `dueInMs` is 0 and the flush is verified. */
  readonly quarantine?: { readonly reason: string; readonly dueInMs: number; readonly flushVerified: boolean };
};

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
  /** What a person should act on; empty where all is well. */
  readonly problems: readonly { readonly code: string; readonly message: string }[];
};

/** Something that happened. `sequence` grows by one each time and starts at 1 with the daemon. */
export type CulvertEvent = {
  readonly sequence: number;
  /** ms since the epoch */
  readonly wallMs: number;
  /** Stable and dotted, such as `sandbox.created`. */
  readonly type: string;
  readonly sandboxId?: SandboxId;
  readonly slot?: Slot;
  readonly generation?: Generation;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
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
   * @throws InputError `sandbox_exists` naming the difference; CulvertError `slots_exhausted`, `bridge_exhausted`, `store_*`
   */
  create(requests: readonly CreateRequest[]): Promise<Sandbox[]>;
  /** @throws CulvertError `sandbox_unknown` */
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
  /** Removes every sandbox and everything else that is Culvert's on this host. */
  purge(): Promise<void>;
  /** Calls `listener`, in order and in this process, until the returned function is called. It must not throw. */
  subscribe(listener: (event: CulvertEvent) => void): () => void;
  /** Stops, and leaves the sandboxes running. */
  close(): Promise<void>;
}
