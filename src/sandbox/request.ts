import type { Generation, LeaseState, SandboxId, Slot, Topology } from '../ipam/lease.ts';
import type { GroupName } from './group.ts';
import type { PolicyChange } from './policy/policy.ts';
import type { Specification } from './sandbox.ts';

/** One sandbox to create; where `id` is absent the engine makes one. */
export type CreateRequest = { readonly id?: SandboxId; readonly specification: Specification };

/** What to change of a running sandbox; what is absent stays, and null takes away. */
export type SandboxChange = {
  readonly policy?: PolicyChange;
  readonly rates?: RatesChange | null;
  readonly group?: GroupName | null;
};

export type RatesChange = { readonly transmit?: RateChange | null; readonly receive?: RateChange | null };

/** A burst of null is the one that follows from the rate. */
export type RateChange = { readonly rate?: number; readonly burst?: number | null };

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
