import type { EpochRecord } from '../../../cluster/records.ts';
import type { Problem } from '../../../sandbox/event.ts';

/** How long a phase may take before a person is told whom it waits for. */
const PATIENCE_MS = 10_000;

/** The epoch as this host knows it, and since when. */
export class KnownEpoch {
  #record: EpochRecord;
  #sinceMs: number;

  /** @param nowMs of a clock that never goes back */
  constructor(record: EpochRecord, nowMs: number) {
    this.#record = record;
    this.#sinceMs = nowMs;
  }

  get record(): EpochRecord {
    return this.#record;
  }

  take(record: EpochRecord, nowMs: number): void {
    this.#record = record;
    this.#sinceMs = nowMs;
  }

  /** ms that it has been in its phase for */
  forMs(nowMs: number): number {
    return nowMs - this.#sinceMs;
  }

  /** `epoch 4, encrypted with the keys of rotation 1, packets of 1420 bytes` */
  get text(): string {
    const { number, encrypts, rotation, mtu } = this.#record;
    const what = encrypts ? `encrypted with the keys of rotation ${rotation}` : 'in clear';
    return `epoch ${number}, ${what}, packets of ${mtu} bytes`;
  }

  /** @param waitsFor names of hosts that keep it in its phase */
  problems(nowMs: number, waitsFor: readonly string[]): Problem[] {
    const { phase } = this.#record;
    const forMs = this.forMs(nowMs);
    if (phase === 'done' || forMs < PATIENCE_MS) return [];
    const whom = waitsFor.length === 0 ? 'other hosts' : waitsFor.join(', ');
    const message = `The change to ${this.text} is in phase ${phase} for ${Math.round(forMs / 1000)} s; this host waits for ${whom}`;
    return [{ code: 'mesh_changing', message }];
  }
}
