import { progressKey } from '../../../cluster/keys.ts';
import { type ProgressRecord, writeProgress } from '../../../cluster/records.ts';
import type { Lease, Registry } from '../../../cluster/registry.ts';

export type ProgressReportParts = {
  readonly registry: Registry;
  /** of this host */
  readonly name: string;
  /** that says that it is alive; undefined where the host is not in the cluster now */
  readonly lease: () => Lease | undefined;
  /** undefined where there is nothing that would be true of the kernel */
  readonly progress: () => ProgressRecord | undefined;
};

/** Tells the registry how far this host has come. */
export class ProgressReport {
  readonly #parts: ProgressReportParts;
  #written: string | undefined;
  #isWriting = false;

  constructor(parts: ProgressReportParts) {
    this.#parts = parts;
  }

  /** What was written under the lease that says that it is alive is to be written again. */
  leased(): void {
    this.#written = undefined;
    void this.write();
  }

  /** Does nothing where that is what it wrote last, or while it writes. */
  async write(): Promise<void> {
    const { registry, name, lease } = this.#parts;
    const held = lease();
    const progress = this.#parts.progress();
    if (this.#isWriting || progress === undefined || held === undefined) return;
    const value = writeProgress(progress);
    if (value === this.#written) return;
    this.#isWriting = true;
    try {
      await registry.commit([], [{ key: progressKey(name), value, lease: held }]);
      this.#written = value;
    } catch {
      // the registry is away: how the host stands says so, and it is written with the next look
      return;
    } finally {
      this.#isWriting = false;
    }
    // it may have come farther meanwhile
    void this.write();
  }
}
