import { followHosts, type HostChange, type Hosts } from '../../cluster/hosts.ts';
import type { Registry } from '../../cluster/registry.ts';
import { CulvertError } from '../../errors.ts';
import { plainText } from '../../plain-text.ts';
import type { Problem } from '../../sandbox/event.ts';

/** How often it is begun anew where it was refused. */
const RETRY_MS = 2000;

export type FollowingParts = {
  readonly registry: Registry;
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
      await followHosts(
        registry,
        hosts,
        (changes) => {
          this.#deafness = undefined;
          changed(changes);
        },
        signal,
      );
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
    this.#deafness = { code: code === 'registry_foreign' ? code : 'registry_unheard', message };
  }
}
