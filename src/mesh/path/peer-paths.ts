import type { Heard } from '../course.ts';
import type { Way } from '../way.ts';
import { SMALLEST } from './packet.ts';
import { Path, type PathTiming } from './path.ts';

/** How long after a proof it still says something: less than a session of WireGuard lives, and by far. */
const FRESH_MS = 10_000;
/** How long without an answer, to questions that were asked, before a way is dead. */
const DEAD_MS = 15_000;

type Leg = {
  readonly path: Path;
  /** bytes, that the other direction carries, as the other host says */
  back: number;
  /** of a question that is to be answered as large, and is under way */
  proving: bigint | undefined;
  provedMs: number;
  /** since when it has been asked without an answer */
  silentMs: number | undefined;
};

/** The ways to one host, those that are in use or are to be. */
export class PeerPaths {
  readonly #legs = new Map<Way, Leg>();
  readonly #timing: PathTiming;
  #whole: number;
  /** What the other host said of itself when it was last heard, by whatever way. */
  heard: (Heard & { readonly atMs: number }) | undefined;

  constructor(whole: number, timing: PathTiming) {
    this.#whole = whole;
    this.#timing = timing;
  }

  get ways(): Iterable<Way> {
    return this.#legs.keys();
  }

  /** Only these are asked by. */
  use(ways: ReadonlySet<Way>): void {
    for (const way of this.#legs.keys()) if (!ways.has(way)) this.#legs.delete(way);
    for (const way of ways) {
      if (this.#legs.has(way)) continue;
      const path = new Path(this.#whole, this.#timing);
      const provedMs = Number.NEGATIVE_INFINITY;
      this.#legs.set(way, { path, back: 0, proving: undefined, provedMs, silentMs: undefined });
    }
  }

  resize(whole: number): void {
    this.#whole = whole;
    for (const { path } of this.#legs.values()) path.resize(whole);
  }

  pathBy(way: Way): Path | undefined {
    return this.#legs.get(way)?.path;
  }

  /** bytes, that the other direction of a way carries, as the other host says; 0 for not known */
  backBy(way: Way): number {
    return this.#legs.get(way)?.back ?? 0;
  }

  dueMs(way: Way): number {
    return this.#legs.get(way)?.path.dueMs ?? Number.POSITIVE_INFINITY;
  }

  /** What was proved says nothing any more: all ways are asked anew. */
  forgetProofs(): void {
    for (const leg of this.#legs.values()) {
      leg.provedMs = Number.NEGATIVE_INFINITY;
      leg.proving = undefined;
    }
    this.hurry();
  }

  /** All ways are asked at once: there is something to tell. */
  hurry(): void {
    for (const { path } of this.#legs.values()) path.hurry();
  }

  /** Whether a packet of the largest size that both directions carry has lately gone and come back by the way. */
  isProved(way: Way, nowMs: number): boolean {
    return nowMs - (this.#legs.get(way)?.provedMs ?? Number.NEGATIVE_INFINITY) <= FRESH_MS;
  }

  /** Whether it has been asked for long, and nothing came. */
  isDead(way: Way, nowMs: number): boolean {
    const silentMs = this.#legs.get(way)?.silentMs;
    return silentMs !== undefined && nowMs - silentMs >= DEAD_MS;
  }

  /** What to ask now by the way: packets of these sizes, and whether an answer is to be as large. */
  ask(way: Way, nowMs: number, newNonce: () => bigint): { size: number; isWhole: boolean; nonce: bigint }[] {
    const leg = this.#legs.get(way);
    if (leg === undefined) return [];
    const nonce = newNonce();
    const size = leg.path.ask(nowMs, nonce);
    if (size === undefined) return [];
    leg.silentMs ??= nowMs;
    const asked = [{ size, isWhole: false, nonce }];
    const proof = Math.min(leg.path.size ?? 0, leg.back);
    if (proof >= SMALLEST) {
      leg.proving = newNonce();
      asked.push({ size: proof, isWhole: true, nonce: leg.proving });
    }
    return asked;
  }

  /** @returns whether it was an answer that was waited for */
  answer(way: Way, nonce: bigint, carries: number, nowMs: number): boolean {
    const leg = this.#legs.get(way);
    if (leg === undefined) return false;
    if (leg.proving === nonce) {
      leg.proving = undefined;
      leg.provedMs = nowMs;
      return true;
    }
    const former = leg.path.size;
    if (!leg.path.answer(nowMs, nonce)) return false;
    leg.silentMs = undefined;
    this.told(way, carries);
    const isToProve = leg.back > 0 && leg.proving === undefined && leg.provedMs === Number.NEGATIVE_INFINITY;
    // what it is the other is to know, and what can be proved is, at once
    if (leg.path.size !== former || isToProve) leg.path.hurry();
    return true;
  }

  /** The other host says what it knows of its direction. */
  told(way: Way, carries: number): void {
    const leg = this.#legs.get(way);
    if (leg === undefined || carries === 0) return;
    if (leg.back === 0) leg.path.hurry();
    leg.back = carries;
  }
}
