import type { ProcessId } from '../../linux/process.ts';
import { ProcessEnd } from '../../linux/waiting/process-end.ts';
import { inBrief, type NewEvent, type Problem } from '../../sandbox/event.ts';
import type { CleanedAfter } from '../../tunnel/client/remains.ts';

/*
 * What becomes of each tunnel:
 *
 *     kept ── its owner ends ──► left ── after a grace ──► taken away
 *      ▲                          │ ▲                          │
 *      └── another one adopts it ─┘ └── some of it is refused ─┘
 */

/** How long one who was started again at once has to come and adopt the tunnel with its session. */
export const GRACE_MS = 5000;
/** What was refused is tried again, and each time it is waited for twice as long. */
const RETRY_MS = { first: 1000, most: 60_000 } as const;
/** A descriptor each, of which a daemon has some ten thousands. */
const TUNNELS_MAX = 1024;

/** A tunnel, and who keeps it or works on it: by its lock or, where nobody has that, by what its link says. */
export type KeptTunnel = { readonly name: string; readonly owner: ProcessId };

/** Takes away what is left, but for a kill switch; undefined where somebody keeps it, or it is none of ours. */
type Clean = (name: string) => CleanedAfter | undefined;

export type WatchParts = {
  readonly emit: (event: NewEvent) => void;
  readonly graceMs?: number;
};

type Watched = {
  readonly name: string;
  /** undefined where nothing says who it was */
  readonly owner: ProcessId | undefined;
  /** while it is kept */
  end: ProcessEnd | undefined;
  /** when all were seen last */
  isMissing: boolean;
  /** when it is tried to take it away, where it is kept no more */
  dueMs: number;
  failures: number;
  /** why not all of it is gone */
  trouble: string | undefined;
};

/** Who keeps which tunnel, and what is to be done when they have ended. On a clock that never goes back, in ms. */
export class TunnelWatch implements Disposable {
  readonly #parts: WatchParts;
  readonly #graceMs: number;
  readonly #watched = new Map<string, Watched>();
  #passedOver = 0;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#graceMs = parts.graceMs ?? GRACE_MS;
  }

  /** To be waited for: the ends of those who keep a tunnel. */
  get fds(): number[] {
    return [...this.#watched.values()].flatMap(({ end }) => end?.fd ?? []);
  }

  /** When there is something to do; infinite where nothing is left. */
  get dueMs(): number {
    return Math.min(...[...this.#watched.values()].map(({ end, dueMs }) => (end === undefined ? dueMs : Infinity)));
  }

  /** @param tunnels all that there are now */
  see(tunnels: readonly KeptTunnel[], nowMs: number): void {
    const names = new Set(tunnels.map(({ name }) => name));
    for (const watched of this.#watched.values()) {
      const wasMissing = watched.isMissing;
      watched.isMissing = !names.has(watched.name);
      // disconnected, by a process that goes on: one that ends lets go of its lock a little before it has ended
      if (watched.end !== undefined && watched.isMissing && wasMissing) this.#forget(watched);
    }
    this.#passedOver = 0;
    for (const { name, owner } of tunnels) {
      const known = this.#watched.get(name);
      if (known?.owner !== undefined && isSame(known.owner, owner)) continue;
      this.#watch(name, owner, nowMs);
    }
  }

  /** Takes up what is left of tunnels and has no link that says so. */
  take(names: readonly string[], nowMs: number): void {
    for (const name of names) if (!this.#watched.has(name)) this.#watch(name, undefined, nowMs);
  }

  /** @param ended of the descriptors, those that were read from */
  hear(ended: ReadonlySet<number>, nowMs: number): void {
    for (const watched of this.#watched.values()) {
      if (watched.end === undefined || !ended.has(watched.end.fd)) continue;
      watched.end[Symbol.dispose]();
      watched.end = undefined;
      watched.dueMs = nowMs + this.#graceMs;
    }
  }

  /** Takes away the first that is due. */
  cleanOne(nowMs: number, clean: Clean): void {
    for (const watched of this.#watched.values()) {
      if (watched.end !== undefined || watched.dueMs > nowMs) continue;
      this.#clean(watched, nowMs, clean);
      return;
    }
  }

  problems(): Problem[] {
    const problems = [...this.#watched.values()].flatMap(({ name, trouble }) =>
      trouble === undefined ? [] : [{ code: 'tunnel_left', message: leftText(name, trouble) }],
    );
    if (this.#passedOver === 0) return problems;
    const message = `Cannot watch ${this.#passedOver} more tunnels than ${TUNNELS_MAX}: nobody takes away what is left of them`;
    return [...problems, { code: 'tunnels_limit', message }];
  }

  [Symbol.dispose](): void {
    for (const watched of this.#watched.values()) this.#forget(watched);
  }

  #watch(name: string, owner: ProcessId | undefined, nowMs: number): void {
    const known = this.#watched.get(name);
    if (known === undefined && this.#watched.size >= TUNNELS_MAX) {
      this.#passedOver++;
      return;
    }
    const end = owner === undefined ? undefined : ProcessEnd.of(owner);
    if (known !== undefined) this.#forget(known);
    const dueMs = nowMs + this.#graceMs;
    this.#watched.set(name, { name, owner, end, isMissing: false, dueMs, failures: 0, trouble: undefined });
  }

  #forget(watched: Watched): void {
    watched.end?.[Symbol.dispose]();
    this.#watched.delete(watched.name);
  }

  #clean(watched: Watched, nowMs: number, clean: Clean): void {
    const { name, trouble: former } = watched;
    const cleaned = attempt(name, clean);
    if (cleaned === undefined) {
      // who works on it says so by the link when that is done; and where they end before, it is left as it was
      watched.dueMs = nowMs + this.#graceMs;
      watched.trouble = undefined;
      return;
    }
    const { done, failed } = cleaned;
    watched.trouble = failed.length === 0 ? undefined : inBrief(failed.map(({ message }) => message));
    if (done.length > 0 || watched.trouble !== former) this.#tell(watched, cleaned);
    if (failed.length === 0) return this.#forget(watched);
    watched.dueMs = nowMs + Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** watched.failures++);
  }

  #tell({ name, owner, trouble }: Watched, { done, failed, isClosed }: CleanedAfter): void {
    const who = owner === undefined ? 'which nobody keeps' : `whose owner, pid ${owner.pid}, has ended`;
    const what = `Took away what was left of tunnel ${name}, ${who}`;
    const steps = done.length === 0 ? [] : [`${what}: ${inBrief(done)}`];
    const rest = trouble === undefined ? [] : [leftText(name, trouble)];
    const closed = isClosed ? [`its kill switch stays until culvert disconnect ${name}`] : [];
    const message = [...(trouble === undefined && done.length === 0 ? [what] : steps), ...rest, ...closed].join('; ');
    const data = { tunnel: name, done, failed: failed.map((error) => error.message) };
    this.#parts.emit({ type: 'tunnel.cleaned', message, data });
  }
}

function attempt(name: string, clean: Clean): CleanedAfter | undefined {
  try {
    return clean(name);
  } catch (error) {
    return { done: [], failed: [error instanceof Error ? error : new Error(String(error))], isClosed: false };
  }
}

function leftText(name: string, trouble: string): string {
  return `Cannot take away all that is left of tunnel ${name}, and will try again: ${trouble}`;
}

function isSame(one: ProcessId, other: ProcessId): boolean {
  return one.pid === other.pid && one.startTicks === other.startTicks;
}
