import { CulvertError } from '../errors.ts';
import { memberKey } from './keys.ts';
import { writeMember } from './records.ts';
import type { Lease, Registry, Write } from './registry.ts';

/** A sandbox of this host, and the group that it is in; none where that is absent. */
type Told = {
  readonly id: string;
  readonly address: Parameters<typeof writeMember>[0]['address'];
  readonly generation: number;
  readonly group?: string;
};

export type OwnMembersParts = {
  readonly registry: Registry;
  readonly host: string;
  /** under which they are written; undefined where the host is not in the cluster now */
  readonly lease: () => Lease | undefined;
};

const RETRY_MS = 1000;
/** Writes that share a transaction. */
const TOGETHER = 64;
/**
 * How long they stay in the registry after the daemon was stopped while its sandboxes live on. It has an end, since who
 * comes back may not know any more what was written here.
 */
const STOPPED_MS = 30 * 24 * 3600 * 1000;

/**
 * What the registry has of this host's sandboxes that are in groups, kept as they are: each change is one write, many that
 * come together share a transaction, and what cannot be written now is written when it can.
 */
export class OwnMembers {
  readonly #parts: OwnMembersParts;
  /** What should stand there, by sandbox. */
  readonly #keys = new Map<string, string>();
  readonly #values = new Map<string, string>();
  /** Keys that may stand there otherwise. */
  readonly #unwritten = new Set<string>();
  #writing: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isStopped = false;
  /** Why some could not be written when that was last tried. */
  failure: string | undefined;

  constructor(parts: OwnMembersParts) {
    this.#parts = parts;
  }

  take(members: readonly Told[]): void {
    for (const { id, group, address, generation } of members) {
      const former = this.#keys.get(id);
      if (former !== undefined) {
        this.#keys.delete(id);
        this.#values.delete(former);
        this.#unwritten.add(former);
      }
      if (group === undefined) continue;
      const key = memberKey({ group, host: this.#parts.host, id });
      this.#keys.set(id, key);
      this.#values.set(key, writeMember({ address, generation }));
      this.#unwritten.add(key);
    }
    this.#write();
  }

  /** With a new lease what was written under the former one goes. */
  writeAll(): void {
    for (const key of this.#values.keys()) this.#unwritten.add(key);
    this.#write();
  }

  /**
   * Writes no more.
   *
   * @param keeps where the sandboxes live on: others are to know them for as long as that may be
   * @throws CulvertError `registry_*`
   */
  async stop({ keeps }: { readonly keeps: boolean }): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#retry);
    await this.#writing;
    if (!keeps || this.#values.size === 0 || this.#parts.lease() === undefined) return;
    const lease = await this.#parts.registry.grant(STOPPED_MS);
    for (const writes of portions([...this.#values].map(([key, value]) => ({ key, value, lease })))) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await this.#parts.registry.commit([], writes);
    }
  }

  #write(): void {
    if (this.#isStopped || this.#unwritten.size === 0 || this.#parts.lease() === undefined) return;
    this.#writing ??= this.#writeOut().finally(() => {
      this.#writing = undefined;
    });
  }

  async #writeOut(): Promise<void> {
    // what comes in by this turn goes together
    await new Promise((resolve) => void setImmediate(resolve));
    while (this.#unwritten.size > 0 && !this.#isStopped) {
      const keys = [...this.#unwritten].slice(0, TOGETHER);
      for (const key of keys) this.#unwritten.delete(key);
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await this.#commit(keys);
        this.failure = undefined;
      } catch (error) {
        for (const key of keys) this.#unwritten.add(key);
        // a lease that is lost is had again by who keeps it
        this.failure = error instanceof Error ? error.message : String(error);
        this.#retry = setTimeout(() => this.#write(), RETRY_MS);
        return;
      }
    }
  }

  async #commit(keys: readonly string[]): Promise<void> {
    const lease = this.#parts.lease();
    if (lease === undefined) throw new CulvertError('registry_unavailable', 'Cannot write: the host is not in it now');
    const writes = keys.map((key): Write => {
      const value = this.#values.get(key);
      return value === undefined ? { key, value } : { key, value, lease };
    });
    await this.#parts.registry.commit([], writes);
  }
}

function portions<T>(list: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(list.length / TOGETHER) }, (_, index) =>
    list.slice(index * TOGETHER, (index + 1) * TOGETHER),
  );
}
