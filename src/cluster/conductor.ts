import { CulvertError } from '../errors.ts';
import type { WrittenEpoch } from './epoch.ts';
import { CONDUCTOR, EPOCH, MESH, PROGRESS } from './keys.ts';
import { listAlive } from './liveness.ts';
import {
  type EpochRecord,
  PHASES,
  type Phase,
  type ProgressRecord,
  readEpoch,
  readProgress,
  writeEpoch,
} from './records.ts';
import { isAway, type Lease, type News, type Registry, type Revision } from './registry.ts';

export type ConductorParts = {
  readonly registry: Registry;
  /** of this host */
  readonly name: string;
  /** that says that it is alive; undefined where the host is not in the cluster now */
  readonly lease: () => Lease | undefined;
  /** Hears of each epoch, the first one at once. */
  readonly changed: (epoch: EpochRecord) => void;
};

/** How often it looks whether anybody leads. */
const LOOK_MS = 250;
/** How often who leads looks whether all have come as far, and how much less often for each host that it reads of. */
const LEADS_MS = 50;
const LEADS_PER_HOST_MS = 0.1;

/**
 * Follows the epoch, and leads a change of it where nobody else does: it counts the hosts that have come as far as the
 * phase, and writes the next one when all have. One of all hosts does that, so that a host's progress is heard by one and
 * not by all; where it is lost, another goes on from what is written.
 */
export class Conductor {
  readonly #parts: ConductorParts;
  /** as the registry has told */
  #epoch: WrittenEpoch | undefined;
  #leader: string | undefined;
  /** how many hosts were alive when it last looked as who leads */
  #count = 0;

  constructor(parts: ConductorParts) {
    this.#parts = parts;
  }

  /** Until it is told to end. @throws CulvertError `registry_denied`, `registry_newer`, `registry_corrupt` */
  async run(signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const ended = AbortSignal.any([signal, failed.signal]);
    try {
      await Promise.all([this.#follow(ended), this.#lead(ended)]);
    } finally {
      failed.abort();
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const news of this.#parts.registry.follow(MESH, signal)) {
      const entries = news.kind === 'all' ? news.entries : news.changes;
      if (news.kind === 'all') this.#leader = undefined;
      for (const { key, value, revision } of entries) {
        if (key === CONDUCTOR) this.#leader = value;
        else if (key === EPOCH && value !== undefined && !this.#isPast(news.kind, revision)) {
          this.#take(readEpoch(value), revision);
        }
      }
    }
  }

  /** What led to the epoch is told again by a registry that was another's meanwhile. */
  #isPast(kind: News['kind'], revision: Revision): boolean {
    return kind === 'changes' && this.#epoch !== undefined && revision <= this.#epoch.revision;
  }

  #take(record: EpochRecord, revision: Revision): void {
    this.#epoch = { record, revision };
    this.#parts.changed(record);
  }

  async #lead(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one look after the other
        await this.#leadOn();
      } catch (error) {
        // what is away for a moment is asked again
        if (!isAway(error) && !isLeaseLost(error)) throw error;
      }
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await pause(this.#restMs, signal);
    }
  }

  get #restMs(): number {
    return this.#leader === this.#parts.name ? LEADS_MS + LEADS_PER_HOST_MS * this.#count : LOOK_MS;
  }

  async #leadOn(): Promise<void> {
    const { name } = this.#parts;
    const epoch = this.#epoch;
    if (epoch === undefined || epoch.record.phase === 'done') {
      if (this.#leader === name) await this.#resign();
      return;
    }
    if (this.#leader === undefined && !(await this.#claim())) return;
    if (this.#leader === name) await this.#advance(epoch);
  }

  async #claim(): Promise<boolean> {
    const { registry, name, lease } = this.#parts;
    const held = lease();
    if (held === undefined) return false;
    const written = await registry.commit(
      [{ key: CONDUCTOR, revision: 0 }],
      [{ key: CONDUCTOR, value: name, lease: held }],
    );
    if (written !== undefined) this.#leader = name;
    return written !== undefined;
  }

  async #resign(): Promise<void> {
    await this.#parts.registry.commit([], [{ key: CONDUCTOR, value: undefined }]);
    this.#leader = undefined;
  }

  /** Writes the next phase where all that are alive have come as far. */
  async #advance({ record, revision }: WrittenEpoch): Promise<void> {
    const { registry } = this.#parts;
    // who comes while this is read is not counted: it goes its own steps with each other host, whatever the phase
    const [alive, progress] = await Promise.all([listAlive(registry), readAllProgress(registry)]);
    this.#count = alive.size;
    if (alive.size === 0 || ![...alive].every((name) => hasReached(progress.get(name), record))) return;
    const next = PHASES[PHASES.indexOf(record.phase) + 1] ?? 'done';
    await registry.commit([{ key: EPOCH, revision }], [{ key: EPOCH, value: writeEpoch({ ...record, phase: next }) }]);
  }
}

function isLeaseLost(error: unknown): boolean {
  return error instanceof CulvertError && error.code === 'registry_lease_lost';
}

/** Whether a host has the phase behind it. */
function hasReached(progress: ProgressRecord | undefined, { number, phase }: EpochRecord): boolean {
  return progress !== undefined && progress.number === number && order(progress.reached) >= order(phase);
}

function order(phase: Phase): number {
  return PHASES.indexOf(phase);
}

/** How far each host has come, by name. @throws CulvertError `registry_*` */
export async function readAllProgress(registry: Registry): Promise<ReadonlyMap<string, ProgressRecord>> {
  const { entries } = await registry.list(PROGRESS);
  return new Map(
    entries.flatMap(({ key, value }) => {
      try {
        return [[key.slice(PROGRESS.length), readProgress(key, value)] as const];
      } catch {
        // one that cannot be read has not come anywhere
        return [];
      }
    }),
  );
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
