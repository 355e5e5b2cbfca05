import { CulvertError } from '../errors.ts';
import { CLUSTER } from './keys.ts';
import { readCluster } from './records.ts';
import type { Condition, Entry, Lease, News, Registry, Revision, Write } from './registry.ts';

/**
 * The registry as a host of one cluster has it. One that was emptied, or is another cluster's by now, is to it as one that
 * is away: nobody in it is a peer, nobody of ours is gone, and nothing is written there.
 */
export class OwnRegistry implements Registry {
  readonly #inner: Registry;
  #clusterId: string | undefined;
  /** of the cluster's record, when it was last read */
  #revision: Revision | undefined;
  #foreign: CulvertError | undefined;

  /** As good as `inner` until it {@link belongsTo} a cluster. */
  constructor(inner: Registry) {
    this.#inner = inner;
  }

  belongsTo(clusterId: string): void {
    this.#clusterId = clusterId;
  }

  get name(): string {
    return this.#inner.name;
  }

  /** Why it was not the own cluster's when it was last asked; undefined where it was. */
  get foreign(): CulvertError | undefined {
    return this.#foreign;
  }

  async get(key: string): Promise<Entry | undefined> {
    const entry = await this.#inner.get(key);
    if (entry === undefined || this.#foreign !== undefined) await this.#assertOwn();
    return entry;
  }

  async list(prefix: string): ReturnType<Registry['list']> {
    const all = await this.#inner.list(prefix);
    if (all.entries.length === 0 || this.#foreign !== undefined) await this.#assertOwn();
    return all;
  }

  async commit(conditions: readonly Condition[], writes: readonly Write[]): Promise<Revision | undefined> {
    if (this.#clusterId === undefined) return this.#inner.commit(conditions, writes);
    const revision = this.#revision ?? (await this.#assertOwn());
    const written = await this.#inner.commit([{ key: CLUSTER, revision: revision ?? 0 }, ...conditions], writes);
    if (written !== undefined) return written;
    // what was put back by hand has another revision
    const found = await this.#assertOwn();
    return found === revision ? undefined : this.commit(conditions, writes);
  }

  grant(ttl_ms: number): Promise<Lease> {
    return this.#inner.grant(ttl_ms);
  }

  async *follow(prefix: string, signal: AbortSignal): AsyncIterable<News> {
    for await (const news of this.#inner.follow(prefix, signal)) {
      if (news.kind === 'all') await this.#assertOwn();
      yield news;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]();
  }

  /** @throws CulvertError `registry_foreign` */
  async #assertOwn(): Promise<Revision | undefined> {
    const id = this.#clusterId;
    if (id === undefined) return undefined;
    const entry = await this.#inner.get(CLUSTER);
    const found = entry === undefined ? undefined : readCluster(entry.value).id;
    if (found === id) {
      this.#foreign = undefined;
      this.#revision = entry?.revision;
      return this.#revision;
    }
    const what = found === undefined ? 'there is no cluster' : `there is cluster ${found}`;
    const message = `Cannot use the registry ${this.name}: ${what}, and this host belongs to cluster ${id}; put back what it had`;
    this.#foreign = new CulvertError('registry_foreign', message);
    throw this.#foreign;
  }
}
