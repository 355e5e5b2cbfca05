import { CulvertError } from '../errors.ts';

/*
 * What hosts agree on, as keys and values: the port, with one implementation on SQLite and one on etcd. It is as much of
 * etcd's model as a cluster needs, and `registry.test.ts` holds both to the same.
 */

/** Grows with each commit of the registry, by 1 at the least; 0 is before all. */
export type Revision = number;

/** UTF-8 bytes; a transaction that has more than one of them is refused by `registry_limit`. */
export const KEY_MAX = 256;
export const VALUE_MAX = 16 * 1024;
/** Conditions and writes of one transaction: 64, and one that asks whose registry it is; etcd takes 128, and 1.5 MiB. */
export const TRANSACTION_MAX = 65;

export type Entry = {
  readonly key: string;
  readonly value: string;
  /** when it was last written */
  readonly revision: Revision;
};

/** That the key was last written at this revision, or is not there where that is 0. */
export type Condition = { readonly key: string; readonly revision: Revision };

export type Write =
  /** It goes when its lease does; without one it stays, and whatever lease it had is no more its. */
  | { readonly key: string; readonly value: string; readonly lease?: Lease }
  | { readonly key: string; readonly value: undefined };

export type Change = {
  readonly key: string;
  /** undefined where it was deleted */
  readonly value: string | undefined;
  readonly revision: Revision;
};

/** Everything below a prefix at one revision, or what changed after what was told before, in order. */
export type News =
  | { readonly kind: 'all'; readonly entries: readonly Entry[]; readonly revision: Revision }
  | { readonly kind: 'changes'; readonly changes: readonly Change[] };

export interface Lease {
  /** opaque, the registry's own */
  readonly id: string;
  /** ms after which it ends where nobody keeps it alive; later, but never earlier, where the registry was away itself */
  readonly ttl_ms: number;
  /** @throws CulvertError `registry_lease_lost` where it has ended; `registry_unavailable` */
  keepAlive(): Promise<void>;
  /** Ends it, and with it what was written under it. @throws CulvertError `registry_unavailable` */
  revoke(): Promise<void>;
}

/**
 * Every call ends within a time of its own, and throws a CulvertError: `registry_unavailable` where it could not be
 * asked or did not answer (a commit may then have been made), `registry_denied` where it refuses who asks.
 */
export interface Registry extends AsyncDisposable {
  /** for messages: without a password */
  readonly name: string;

  get(key: string): Promise<Entry | undefined>;

  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: Revision }>;

  /**
   * Writes everything if all conditions hold, and nothing otherwise. No key is written twice.
   *
   * @returns the revision of what was written; undefined where a condition does not hold
   * @throws CulvertError `registry_lease_lost` where a lease has ended; `registry_limit`
   */
  commit(conditions: readonly Condition[], writes: readonly Write[]): Promise<Revision | undefined>;

  /** @param ttl_ms 1000 at the least, whole seconds */
  grant(ttl_ms: number): Promise<Lease>;

  /**
   * First `all`, then `changes`, or `all` again where changes were missed. Where the registry is away it waits for it,
   * however long.
   *
   * @throws CulvertError `registry_denied`
   */
  follow(prefix: string, signal: AbortSignal): AsyncIterable<News>;
}

/** Whether what was asked may be asked again: the registry does not answer, or is not the cluster's now. */
export function isAway(error: unknown): boolean {
  return error instanceof CulvertError && (error.code === 'registry_unavailable' || error.code === 'registry_foreign');
}

/** What was asked; undefined where the registry is away. @throws whatever else it does */
export async function unlessAway<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isAway(error)) return undefined;
    throw error;
  }
}
