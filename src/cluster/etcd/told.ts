import { crc32 } from 'node:zlib';
import type { Entry, Revision } from '../registry.ts';

type Trace = { readonly revision: Revision; readonly sum: number };

/** What the registry has to have had at a revision, if it is the one that told it. */
export type Print = {
  readonly revision: Revision;
  readonly count: number;
  /** when the newest of its entries was written; 0 where there are none */
  readonly newest: Revision;
  /** sums of what stood in those that were written then */
  readonly sums: ReadonlyMap<string, number>;
};

/**
 * What was told below a prefix: so little of it that it can be kept, and enough to find out whether the registry still has
 * the history that it was told from. One that was put back from a backup has another one after that, under the same
 * revisions.
 */
export class Told {
  readonly #traces = new Map<string, Trace>();
  #revision: Revision;

  constructor(entries: readonly Entry[], revision: Revision) {
    this.#revision = revision;
    for (const { key, value, revision: written } of entries) this.take(key, value, written);
  }

  /** up to which all was told */
  get revision(): Revision {
    return this.#revision;
  }

  /** entries that there are */
  get count(): number {
    return this.#traces.size;
  }

  take(key: string, value: string | undefined, revision: Revision): void {
    this.#revision = Math.max(this.#revision, revision);
    if (value === undefined) this.#traces.delete(key);
    else this.#traces.set(key, { revision, sum: crc32(value) });
  }

  print(): Print {
    let newest = 0;
    let sums = new Map<string, number>();
    for (const [key, { revision, sum }] of this.#traces) {
      if (revision > newest) sums = new Map();
      newest = Math.max(newest, revision);
      if (revision === newest) sums.set(key, sum);
    }
    return { revision: this.#revision, count: this.#traces.size, newest, sums };
  }
}

/** Whether what the registry says that it had then is what was told: how many entries, and the newest of them. */
export function isAsTold(print: Print, found: { readonly count: number; readonly entry: Entry | undefined }): boolean {
  return found.count === print.count && isNewestAsTold(print, found.entry);
}

/** Whether one of the newest entries, as the registry says that it was then, is what was told. */
export function isNewestAsTold({ newest, sums }: Print, entry: Entry | undefined): boolean {
  if ((entry?.revision ?? 0) !== newest) return false;
  return entry === undefined || sums.get(entry.key) === crc32(entry.value);
}
