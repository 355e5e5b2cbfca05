import { followHosts, type HostChange, type Hosts } from '../../cluster/hosts.ts';
import { CLUSTER } from '../../cluster/keys.ts';
import { readCluster } from '../../cluster/records.ts';
import type { Registry } from '../../cluster/registry.ts';
import { CulvertError } from '../../errors.ts';
import { plainText } from '../../plain-text.ts';
import type { Problem } from '../../sandbox/event.ts';

/** How often it is begun anew where it was refused. */
const RETRY_MS = 2000;

export type FollowingParts = {
  readonly registry: Registry;
  /** Whoever is in another cluster is nobody of ours. */
  readonly clusterId: string;
  readonly hosts: Hosts;
  readonly changed: (changes: readonly HostChange[]) => void;
  readonly emit: (type: string, message: string) => void;
};

/** Hears what the registry tells of all hosts, and begins anew where that ends. */
export class Following {
  readonly #parts: FollowingParts;
  readonly #giveUp = new AbortController();
  #deafness: Problem | undefined;

  constructor(parts: FollowingParts) {
    this.#parts = parts;
  }

  /** Why it does not hear of other hosts, where it does not. */
  get problem(): Problem | undefined {
    return this.#deafness;
  }

  begin(): void {
    void this.#follow();
  }

  end(): void {
    this.#giveUp.abort();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#giveUp;
    const { registry, hosts, changed } = this.#parts;
    try {
      await followHosts(registry, hosts, changed, { isOurs: () => this.#assertOurs(), signal });
    } catch (error) {
      if (signal.aborted) return;
      this.#deaf(error);
      setTimeout(() => void this.#follow(), RETRY_MS).unref();
    }
  }

  #deaf(error: unknown): void {
    const code = error instanceof CulvertError ? error.code : '';
    // what is away for a moment is told by how the host stands
    if (code === 'registry_unavailable') return;
    const message = plainText(error instanceof Error ? error.message : String(error));
    if (this.#deafness?.message !== message) this.#parts.emit('cluster.unreadable', message);
    this.#deafness = { code: code === 'cluster_foreign' ? 'registry_foreign' : 'registry_unheard', message };
  }

  /** Whoever is in a registry that was emptied, or is another cluster's, is no peer, and nobody of ours is gone. */
  async #assertOurs(): Promise<void> {
    const { registry, clusterId } = this.#parts;
    const found = await registry.get(CLUSTER);
    const id = found === undefined ? undefined : readCluster(found.value).id;
    if (id !== clusterId) {
      const what = id === undefined ? 'there is no cluster' : `there is cluster ${id}`;
      const message = `Cannot follow cluster ${clusterId} in ${registry.name}: ${what}`;
      throw new CulvertError('cluster_foreign', message);
    }
    this.#deafness = undefined;
  }
}
