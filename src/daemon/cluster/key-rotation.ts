import type { Clock } from '../../clock.ts';
import type { EpochRecord } from '../../cluster/records.ts';
import { isAway, type Registry } from '../../cluster/registry.ts';
import { rotateFrom } from '../../cluster/rotate.ts';
import type { NewEvent, Problem } from '../../sandbox/event.ts';
import { KeyAge } from './key-age.ts';

export type KeyRotationParts = {
  readonly registry: Registry;
  /** of this host */
  readonly name: string;
  /** names of all other hosts */
  readonly others: () => Iterable<string>;
  /** whether this one is in the cluster now */
  readonly isIn: () => boolean;
  readonly epoch: () => EpochRecord;
  /** names of the hosts that have not taken the keys of the last change, and would be cut off by another one */
  readonly late: () => readonly string[];
  /** ms that such a host is waited for, when the keys are old */
  readonly holdMs: number;
  /** after which keys are to be changed */
  readonly everyMs: number;
  readonly clock: Clock;
  readonly emit: (event: NewEvent) => void;
};

/** How often it looks how old the keys are. */
const LOOK_MS = 1000;
/** Hosts that a message names. */
const NAMED = 8;

/** Has all hosts change their keys when those are old. Every host that is told an age looks; the first of them does it. */
export class KeyRotation implements Disposable {
  readonly #parts: KeyRotationParts;
  readonly #age: KeyAge;
  readonly #looking: NodeJS.Timeout;
  #isWriting = false;
  #failure: string | undefined;
  #late: readonly string[] = [];
  /** since when keys are old and not changed for them */
  #lateSinceMs: number | undefined;

  constructor(parts: KeyRotationParts) {
    this.#parts = parts;
    this.#age = new KeyAge(parts.everyMs);
    this.#looking = setInterval(() => void this.look(), LOOK_MS).unref();
  }

  /** What a person has to see to. */
  problems(): Problem[] {
    const reason = this.#failure ?? this.#lateReason();
    if (reason === undefined) return [];
    const message = `The keys are older than cluster.rotateKeysEveryMs says and are not changed: ${reason}`;
    return [{ code: 'keys_old', message }];
  }

  /** Has them changed, if it is time. */
  async look(): Promise<void> {
    const { registry, clock, epoch: current, isIn, emit } = this.#parts;
    const epoch = current();
    // who is not in the cluster decides nothing
    if (!isIn() || this.#isWriting) return;
    const rank = this.#rank();
    const wallMs = clock.wallMs();
    const monotonicMs = clock.monotonicMs();
    const areOld = this.#age.areOld(epoch, { wallMs, monotonicMs, rank });
    if (this.#isLate(areOld, monotonicMs) || !areOld) return;
    this.#isWriting = true;
    try {
      const next = await rotateFrom(registry, epoch, wallMs);
      this.#failure = undefined;
      if (next !== undefined) emit({ type: 'mesh.keys_old', message: messageOf(epoch, next, wallMs) });
    } catch (error) {
      // what is away is told by how the host stands, and asked again
      if (!isAway(error)) this.#failure = error instanceof Error ? error.message : String(error);
    } finally {
      this.#isWriting = false;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking);
  }

  /** Whether the change waits for somebody who has the keys of before the last one, and of that rotation none. */
  #isLate(areOld: boolean, nowMs: number): boolean {
    this.#late = areOld ? this.#parts.late() : [];
    if (this.#late.length === 0) this.#lateSinceMs = undefined;
    else this.#lateSinceMs ??= nowMs;
    return this.#lateSinceMs !== undefined && nowMs - this.#lateSinceMs < this.#parts.holdMs;
  }

  #lateReason(): string | undefined {
    if (this.#lateSinceMs === undefined) return undefined;
    const leftMs = this.#lateSinceMs + this.#parts.holdMs - this.#parts.clock.monotonicMs();
    if (leftMs <= 0) return undefined;
    const some = this.#late.slice(0, NAMED).join(', ');
    const more = this.#late.length > NAMED ? ` and ${this.#late.length - NAMED} others` : '';
    return `${some}${more} would be cut off, having missed the last change; they are waited for ${Math.ceil(leftMs / 1000)} s more: see that they reach the registry, or remove them (culvert hosts remove)`;
  }

  /** Among all hosts, by name, be they alive or not. */
  #rank(): number {
    const { name, others } = this.#parts;
    return [...others()].filter((other) => other < name).length;
  }
}

function messageOf({ rotation, rotatedWallMs }: EpochRecord, { number }: EpochRecord, wallMs: number): string {
  const since = rotatedWallMs === 0 ? 'the beginning' : new Date(rotatedWallMs).toISOString();
  const age = rotatedWallMs === 0 ? '' : `, ${Math.round((wallMs - rotatedWallMs) / 1000)} s`;
  return `The keys of rotation ${rotation} are from ${since}${age}: epoch ${number} brings new ones`;
}
