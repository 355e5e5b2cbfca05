import type { CreateBody } from '../../src/api/client/client.ts';
import { pause } from '../until.ts';
import type { ClusterDaemon } from './cluster-daemon.ts';

const TICK_MS = 10;
/** sandboxes on each host at a time */
const LIVE = 24;
/** Creates and removes under way at a time, on all hosts; where there are more it lags behind. */
const PENDING_MAX = 32;
const FAILURES_SHOWN = 5;
/** What is made, in turn: a third is in no group, and what is on a bridge never is in one. */
const KINDS: readonly CreateBody[] = [
  { topology: 'microvm', group: 'build' },
  { topology: 'netns', group: 'web' },
  { topology: 'bridge' },
  { topology: 'microvm' },
  { topology: 'netns', group: 'build' },
  { topology: 'microvm', group: 'web' },
];

type Host = { readonly daemon: ClusterDaemon; readonly live: string[]; made: number };

/** Creates sandboxes and removes the oldest, on all hosts in turn, at a pace. */
export class TurnOver {
  readonly #hosts: readonly Host[];
  readonly #failures: string[] = [];
  #failed = 0;
  #cycles = 0;
  #pending = 0;
  #turn = 0;
  #dueMs = 0;
  /** a second, of all hosts together */
  #rate = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(daemons: readonly ClusterDaemon[]) {
    this.#hosts = daemons.map((daemon) => ({ daemon, live: [], made: 0 }));
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Creates with as many removes that have been done. */
  get cycles(): number {
    return this.#cycles;
  }

  /** How many creates and removes failed. */
  get failed(): number {
    return this.#failed;
  }

  /** What the first of them said. */
  get failures(): readonly string[] {
    return this.#failures;
  }

  /** @param rate a second, of all hosts together */
  pace(rate: number): void {
    this.#rate = rate;
    this.#dueMs = performance.now();
  }

  /** Ends it, and removes what is left. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    while (this.#pending > 0) await pause(TICK_MS);
    await Promise.all(this.#hosts.map(({ daemon, live }) => daemon.client.remove(live.splice(0))));
  }

  #tick(): void {
    const nowMs = performance.now();
    for (; this.#rate > 0 && this.#dueMs <= nowMs && this.#pending < PENDING_MAX; this.#dueMs += 1000 / this.#rate) {
      const host = this.#hosts[this.#turn++ % this.#hosts.length];
      if (host !== undefined) void this.#cycle(host);
    }
    // what could not be begun in time is not made up for in one go
    this.#dueMs = Math.max(this.#dueMs, nowMs - 1000);
  }

  async #cycle(host: Host): Promise<void> {
    this.#pending++;
    try {
      const kind = KINDS[host.made++ % KINDS.length];
      if (kind === undefined) throw new Error('There are six kinds');
      const oldest = host.live.length >= LIVE ? host.live.shift() : undefined;
      if (oldest !== undefined) await host.daemon.client.remove([oldest]);
      const made = await host.daemon.client.create(kind);
      host.live.push(...made.map(({ id }) => id));
      this.#cycles++;
    } catch (error) {
      this.#failed++;
      if (this.#failures.length < FAILURES_SHOWN) this.#failures.push(String(error));
    } finally {
      this.#pending--;
    }
  }
}
