import type { Ipv4 } from '../addr/ipv4.ts';
import { InputError } from '../errors.ts';

declare const brand: unique symbol;

/** The index of a sandbox on its host, 1 to 32767: every address derives from it. */
export type Slot = number & { readonly [brand]: 'Slot' };

/** Which life of a slot: 1 at its first claim, one more at each later one, never back. */
export type Generation = number & { readonly [brand]: 'Generation' };

/** What the platform calls a sandbox: 1 to 63 of `a-z`, `0-9` and `-`, the first a letter or digit. */
export type SandboxId = string & { readonly [brand]: 'SandboxId' };

export const SLOT_MAX = 32767;
/** bytes of UTF-8 */
export const SPECIFICATION_MAX = 16_384;
/** characters */
export const REASON_MAX = 200;

/** The kinds of network there are: behind a TAP, in a namespace on a cable of its own, on the shared bridge. */
export const TOPOLOGIES = ['microvm', 'netns', 'bridge'] as const;

export type Topology = (typeof TOPOLOGIES)[number];

/**
 *     free ─claim─► creating ─── (no owner) ──► warm
 *      ▲             │   │                       │ assign
 *      │             │   └────── (owner) ────► ready
 *      │             │                           │
 *      │             └────────► removing ◄───────┴── (and from warm)
 *      │                           │ verified gone
 *      └─ floor and flush ── quarantined
 *
 * A warm lease whose network is to be changed for its owner is `creating` again until it is.
 *
 * `creating` may or may not have kernel objects, `warm` and `ready` have their network, `quarantined` nothing. What lets
 * a sandbox pass is there when its owner hears of it; after a crash right before that a lease is `ready` without, until
 * the next daemon has looked at the router's tables.
 */
export type LeaseState = 'creating' | 'warm' | 'ready' | 'removing' | 'quarantined' | 'free';

/** One life of a slot; a lease of another generation is another lease. */
export interface LeaseKey {
  readonly slot: Slot;
  readonly generation: Generation;
}

/** The durable record of who holds a slot. */
export interface Lease extends LeaseKey {
  readonly state: Exclude<LeaseState, 'free'>;
  /** What kind of network stands, or stood, in the slot. */
  readonly topology: Topology;
  /** The owner; in quarantine the last one; absent where the lease was for the warm pool. */
  readonly sandboxId: SandboxId | undefined;
  /** What the owner asked for, as JSON that the store does not look into; present exactly where `sandboxId` is. */
  readonly specification: string | undefined;
  /** Its own address on the bridge; present exactly where `topology` is `bridge`, through quarantine too. */
  readonly bridgeAddress: Ipv4 | undefined;
  /** The boot whose kernel holds, or held, the objects of this lease. */
  readonly bootId: string;
  /** When the state was entered, in ms since the epoch. For people only: the wall clock jumps. */
  readonly sinceWallMs: number;
  /** Present exactly where `state` is `quarantined`. */
  readonly quarantine: Quarantine | undefined;
}

interface Quarantine {
  readonly reason: string;
  /** On the monotonic clock of `bootId`, in ms: no earlier than this is the slot free. */
  readonly dueMonotonicMs: number;
  readonly flushVerified: boolean;
}

/** @throws InputError `invalid_slot` */
export function parseSlot(value: number, field?: string): Slot {
  if (!Number.isInteger(value) || value < 1 || value > SLOT_MAX) {
    throw invalid('invalid_slot', `Cannot use ${value} as a slot: want an integer from 1 to ${SLOT_MAX}`, field);
  }
  return value as Slot;
}

/** @throws InputError `invalid_sandbox_id` */
export function parseSandboxId(text: string, field?: string): SandboxId {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(text)) {
    const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
    const want = 'want 1 to 63 of a-z, 0-9 and -, the first a letter or digit';
    throw invalid('invalid_sandbox_id', `Cannot use ${JSON.stringify(shown)} as a sandbox id: ${want}`, field);
  }
  return text as SandboxId;
}

/** @throws InputError `invalid_specification` */
export function assertSpecification(text: string, field = 'specification'): void {
  const size = Buffer.byteLength(text);
  if (size > SPECIFICATION_MAX) {
    const message = `Cannot keep a specification of ${size} bytes: want at most ${SPECIFICATION_MAX}`;
    throw invalid('invalid_specification', message, field);
  }
  // SQLite would keep another text in place of one that UTF-8 cannot write.
  if (!text.isWellFormed() || !isJson(text)) {
    const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
    throw invalid('invalid_specification', `Cannot keep ${JSON.stringify(shown)} as a specification: want JSON`, field);
  }
}

/** @throws InputError `invalid_reason` for anything but 1 to REASON_MAX characters */
export function assertReason(text: string): void {
  if (text.length >= 1 && text.length <= REASON_MAX) return;
  const message = `Cannot quarantine for a reason of ${text.length} characters: want 1 to ${REASON_MAX}`;
  throw invalid('invalid_reason', message, 'reason');
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function invalid(code: string, message: string, field: string | undefined): InputError {
  return new InputError(code, message, field === undefined ? {} : { field });
}
