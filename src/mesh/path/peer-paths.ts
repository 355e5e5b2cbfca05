import { Path, type PathTiming } from '../../plan/path/path.ts';
import type { Heard } from '../course.ts';
import { type Leg, legsOf, type Way } from '../way.ts';
import { SMALLEST } from './packet.ts';

/** How long after a proof it still says something: less than a session of WireGuard lives, and by far. */
const FRESH_MS = 10_000;
/** How long the answer to a question that is to be answered as large is waited for; twice as long each time that it is lost. */
const PROOF_MS = 250;
/** How long a packet may be under way from one host to another, in queues that wait for a processor. */
const SETTLE_MS = 250;
/** How long without an answer, to questions that were asked, before a leg is dead. */
const DEAD_MS = 15_000;
/** And before another one is tried, where there is one. */
const SILENT_MS = 5_000;

type Known = {
  readonly path: Path;
  /** bytes, that the other direction carries, as the other host says */
  back: number;
  /** of a question that is to be answered as large, and is under way */
  proving: bigint | undefined;
  /** when that is lost */
  provingUntilMs: number;
  /** how many were lost since the last one that was not */
  proofsLost: number;
  provedMs: number;
  /** since when it has been asked without an answer */
  silentMs: number | undefined;
};

/** The legs to one host, those that are in use or are to be. */
export class PeerPaths {
  readonly #legs = new Map<Leg, Known>();
  readonly #timing: PathTiming;
  #whole: number;
  /** What the other host said of itself when it was last heard, by whatever way. */
  #heard: (Heard & { readonly sinceMs: number }) | undefined;

  constructor(whole: number, timing: PathTiming) {
    this.#whole = whole;
    this.#timing = timing;
  }

  get legs(): Iterable<Leg> {
    return this.#legs.keys();
  }

  get heard(): Heard | undefined {
    return this.#heard;
  }

  /** Takes in what the other host says of itself. */
  hear({ way, epoch }: Heard, nowMs: number): void {
    const { way: former, epoch: formerEpoch } = this.#heard ?? {};
    if (former !== way || formerEpoch !== epoch) this.#heard = { way, epoch, sinceMs: nowMs };
  }

  /** ms until what the other host sent before it said what it says now has arrived, or never will; 0 for by now */
  unsettledMs(nowMs: number): number {
    return this.#heard === undefined ? SETTLE_MS : Math.max(0, this.#heard.sinceMs + SETTLE_MS - nowMs);
  }

  /** Only these are asked by. */
  use(legs: ReadonlySet<Leg>): void {
    for (const leg of this.#legs.keys()) if (!legs.has(leg)) this.#legs.delete(leg);
    for (const leg of legs) {
      if (this.#legs.has(leg)) continue;
      const path = new Path(this.#whole, this.#timing, this.#roundTripMs);
      const provedMs = Number.NEGATIVE_INFINITY;
      const proof = { proving: undefined, provingUntilMs: 0, proofsLost: 0, provedMs };
      this.#legs.set(leg, { path, back: 0, ...proof, silentMs: undefined });
    }
  }

  resize(whole: number): void {
    this.#whole = whole;
    for (const { path } of this.#legs.values()) path.resize(whole);
  }

  pathBy(leg: Leg): Path | undefined {
    return this.#legs.get(leg)?.path;
  }

  /** bytes, that the other direction of a leg carries, as the other host says; 0 for not known */
  backBy(leg: Leg): number {
    return this.#legs.get(leg)?.back ?? 0;
  }

  dueMs(leg: Leg): number {
    const known = this.#legs.get(leg);
    if (known === undefined) return Number.POSITIVE_INFINITY;
    const isWanted = known.proving !== undefined && known.provedMs === Number.NEGATIVE_INFINITY && !known.path.isAsked;
    return isWanted ? Math.min(known.path.dueMs, known.provingUntilMs) : known.path.dueMs;
  }

  /** All listen by the way from now on: it is asked anew, where it is not proved. */
  listened(way: Way, nowMs: number): void {
    for (const leg of legsOf(way)) if (!this.isProved(leg, nowMs)) this.#legs.get(leg)?.path.restart();
  }

  /** What was proved says nothing any more: all are asked anew. */
  forgetProofs(): void {
    for (const known of this.#legs.values()) {
      known.provedMs = Number.NEGATIVE_INFINITY;
      known.proving = undefined;
      known.proofsLost = 0;
    }
    this.hurry();
  }

  /** All are asked at once: there is something to tell. */
  hurry(): void {
    for (const { path } of this.#legs.values()) path.hurry();
  }

  /** Whether a packet of the largest size that both directions carry has lately gone and come back by the leg. */
  isProved(leg: Leg, nowMs: number): boolean {
    return nowMs - (this.#legs.get(leg)?.provedMs ?? Number.NEGATIVE_INFINITY) <= FRESH_MS;
  }

  /** Whether it has been asked for long, and nothing came. */
  isDead(leg: Leg, nowMs: number): boolean {
    return this.#silenceMs(leg, nowMs) >= DEAD_MS;
  }

  /** Whether it has been asked for a while, and nothing came. */
  isSilent(leg: Leg, nowMs: number): boolean {
    return this.#silenceMs(leg, nowMs) >= SILENT_MS;
  }

  #silenceMs(leg: Leg, nowMs: number): number {
    return nowMs - (this.#legs.get(leg)?.silentMs ?? nowMs);
  }

  /** What to ask now by the leg: packets of these sizes, and whether an answer is to be as large. */
  ask(leg: Leg, nowMs: number, newNonce: () => bigint): { size: number; isWhole: boolean; nonce: bigint }[] {
    const known = this.#legs.get(leg);
    if (known === undefined) return [];
    if (nowMs >= this.dueMs(leg) && nowMs < known.path.dueMs) {
      known.proofsLost++;
      known.path.hurry();
    }
    const nonce = newNonce();
    const size = known.path.ask(nowMs, nonce);
    if (size === undefined) return [];
    known.silentMs ??= nowMs;
    const asked = [{ size, isWhole: false, nonce }];
    const proof = Math.min(known.path.size ?? 0, known.back);
    if (proof >= SMALLEST) {
      known.proving = newNonce();
      known.provingUntilMs = nowMs + Math.min(PROOF_MS * 2 ** known.proofsLost, this.#timing.rest_ms);
      asked.push({ size: proof, isWhole: true, nonce: known.proving });
    }
    return asked;
  }

  /** @returns whether it was an answer that was waited for */
  answer(leg: Leg, nonce: bigint, carries: number, nowMs: number): boolean {
    const known = this.#legs.get(leg);
    if (known === undefined) return false;
    if (known.proving === nonce) {
      known.proving = undefined;
      known.proofsLost = 0;
      known.provedMs = nowMs;
      return true;
    }
    const former = known.path.size;
    if (!known.path.answer(nowMs, nonce)) return false;
    known.silentMs = undefined;
    this.told(leg, carries);
    const isToProve = known.back > 0 && known.proving === undefined && known.provedMs === Number.NEGATIVE_INFINITY;
    // what it is the other is to know, and what can be proved is, at once
    if (known.path.size !== former || isToProve) known.path.hurry();
    return true;
  }

  /** ms, the least that an answer has taken by any way */
  get #roundTripMs(): number | undefined {
    const known = [...this.#legs.values()].flatMap(({ path: { roundTripMs } }) => roundTripMs ?? []);
    return known.length === 0 ? undefined : Math.min(...known);
  }

  /** The other host says what it knows of its direction. */
  told(leg: Leg, carries: number): void {
    const known = this.#legs.get(leg);
    if (known === undefined || carries === 0) return;
    if (known.back === 0) known.path.hurry();
    known.back = carries;
  }
}
