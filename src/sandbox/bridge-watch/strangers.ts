import type { Kernel } from '../../linux/apply.ts';
import { ROUTER } from '../../plan/state.ts';
import { SANDBOX_LINKS } from '../ruleset/names.ts';
import { BRIDGE } from '../topology/layout.ts';

/** How often the ports are read while it matters who is there, and while nothing waits for it. */
const LOOK_MS = 1000;
const IDLE_LOOK_MS = 10_000;
/** Reading the ports takes some 30 µs each, and at most a fiftieth of the time. */
const SHARE = 50;

const BOUND = new RegExp(`^${SANDBOX_LINKS.replace('*', '')}`);

/**
 * The ports of the bridge that are none of a sandbox: what an operator put there, such as a network card. From these
 * alone can come an answer that anti-spoof does not stop, since it binds the others to their own addresses.
 */
export class Strangers {
  readonly #kernel: Kernel;
  #names: readonly string[] | undefined;
  #lookMs = 0;
  #idleLookMs = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Those of the last look; undefined before it. */
  get names(): readonly string[] | undefined {
    return this.#names;
  }

  /** Somebody spoke who is no sandbox: the next look is at once. */
  suspect(): void {
    this.#lookMs = 0;
    this.#idleLookMs = 0;
  }

  /**
   * @param matters whether something waits for what it finds
   * @returns those that were not there the last time
   * @throws SyscallError
   */
  look(nowMs: number, matters: boolean): string[] {
    if (nowMs < (matters ? this.#lookMs : this.#idleLookMs)) return [];
    const startMs = performance.now();
    const before = new Set(this.#names);
    // where the look fails, nobody knows
    this.#names = undefined;
    const ports = this.#kernel.ports(ROUTER, BRIDGE);
    // One with nobody at its other end can answer nothing; when somebody is there, it is new.
    this.#names = ports.flatMap(({ link, isRunning }) => (isRunning && !BOUND.test(link.name) ? [link.name] : []));
    const cost = SHARE * (performance.now() - startMs);
    this.#lookMs = nowMs + Math.max(LOOK_MS, cost);
    this.#idleLookMs = nowMs + Math.max(IDLE_LOOK_MS, cost);
    return this.#names.filter((name) => !before.has(name));
  }
}
