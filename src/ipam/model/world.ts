import { ok } from 'node:assert/strict';
import { copyFileSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { HandClock } from '../../../lab/hand-clock.ts';
import { type LeaseKey, parseSlot } from '../lease.ts';
import { openStore, type Store } from '../store.ts';
import { Model } from './model.ts';
import { SLOTS } from './operation.ts';

export const range = { first: parseSlot(1), last: parseSlot(SLOTS) };

/** A database to begin with: the check at each start reads every slot there is; those of the range are enough here. */
export function makeTemplate(path: string): void {
  openStore(path, new HandClock()).close();
  const database = new DatabaseSync(path);
  database.exec(`DELETE FROM lease WHERE slot > ${SLOTS}; VACUUM`);
  database.close();
}

/** The store under test, the keys it ever gave out, and the ways its process can die. */
export class World implements Disposable {
  readonly clock = new HandClock();
  readonly model = new Model(this.clock, SLOTS);
  readonly keys: LeaseKey[] = [];
  /** Told of each thing that a run should come to at least once. */
  readonly note: (what: string) => void;
  store: Store;
  readonly #base: string;
  #life = 0;

  constructor(base: string, template: string, note: (what: string) => void) {
    this.note = note;
    this.#base = base;
    copyFileSync(template, this.path());
    this.store = this.open();
  }

  path(livesOn = 0): string {
    return `${this.#base}-${this.#life + livesOn}.db`;
  }

  open(): Store {
    return openStore(this.path(), this.clock, { busyTimeout_ms: 0 });
  }

  /** Keeps the files as the kernel has them now, which is what SIGKILL leaves. */
  image(): void {
    for (const suffix of ['', '-wal']) copyFileSync(`${this.path()}${suffix}`, `${this.path(1)}${suffix}`);
  }

  /** Goes on with the image, as the next life. */
  revive(): void {
    this.store.close();
    rmSync(this.path());
    this.#life += 1;
    this.store = this.open();
  }

  /** Nothing was ever given out in the same life twice. */
  give(leases: readonly LeaseKey[]): void {
    for (const { slot, generation } of leases) {
      ok(
        this.keys.every((key) => key.slot !== slot || key.generation < generation),
        `slot ${slot} went back`,
      );
    }
    this.keys.push(...leases);
  }

  key(index: number): LeaseKey | undefined {
    return this.keys.at(-1 - index);
  }

  [Symbol.dispose](): void {
    this.store[Symbol.dispose]();
    rmSync(this.path(), { force: true });
  }
}
