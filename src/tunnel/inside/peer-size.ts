import { Path, type PathTiming } from '../../plan/path/path.ts';
import type { Answer } from './echo.ts';
import type { Whom } from './whom.ts';

/** A question of a size, bytes of the IP packet, to one of those who may answer. */
export type Question = { readonly whom: Whom; readonly nonce: bigint; readonly size: number };

/** Where nothing is wrong it need not be asked often; a size that was found smaller is tried anew after a minute. */
const TIMING: PathTiming = { wait_ms: 1000, rest_ms: 10_000, raise_ms: 60_000 };
/** How long after all were asked who answers they are asked again, at first and at the most. */
const SEARCH_MS = 2000;
const SEARCH_MOST_MS = 60_000;
/** Who has not answered for that long is not asked any more before somebody else. */
const FORGOTTEN_MS = 60_000;
/** bytes: what passes anywhere */
const SMALL = 64;

/**
 * How large packets may be that pass to a peer and back, by asking somebody inside with packets of real sizes (RFC 8899):
 * WireGuard's own messages that are answered have one size. Where nobody answers nothing is found.
 *
 * Pure: it is told the time and the answers, and says what to ask.
 */
export class PeerSize {
  readonly #all: readonly Whom[];
  readonly #newNonce: () => bigint;
  readonly #path: Path;
  #asked = new Map<bigint, Whom>();
  #target: Whom | undefined;
  #targetMs = 0;
  #searchMs = SEARCH_MS;
  #searchedMs = Number.NEGATIVE_INFINITY;

  /**
   * @param whole bytes, the largest packet there is to ask for
   * @param all who may answer, the likeliest first
   */
  constructor(whole: number, all: readonly Whom[], newNonce: () => bigint) {
    this.#path = new Path(whole, TIMING);
    this.#all = all;
    this.#newNonce = newNonce;
  }

  /** bytes that pass; undefined where nothing is known */
  get size(): number | undefined {
    return this.#path.size;
  }

  /** Whether there is a question that an answer is waited for. */
  get isAsking(): boolean {
    return this.#path.isAsked;
  }

  /** who answers */
  get target(): Whom | undefined {
    return this.#target;
  }

  resize(whole: number): void {
    this.#path.resize(whole);
  }

  /** Packets go elsewhere, or may: all is asked anew. */
  hurry(): void {
    this.#searchedMs = Number.NEGATIVE_INFINITY;
    this.#searchMs = SEARCH_MS;
    this.#path.hurry();
  }

  /** What it is time to ask. */
  questions(nowMs: number): Question[] {
    const isForgotten = nowMs - Math.max(this.#path.answeredMs ?? 0, this.#targetMs) > FORGOTTEN_MS;
    if (this.#target === undefined || isForgotten) return this.#search(nowMs);
    const nonce = this.#newNonce();
    const size = this.#path.ask(nowMs, nonce);
    return size === undefined ? [] : [{ whom: this.#target, nonce, size }];
  }

  /** @returns whether it was to a question of this peer */
  answer({ nonce, kind }: Answer, nowMs: number): boolean {
    const whom = this.#asked.get(nonce);
    if (whom === undefined) return this.#path.answer(nowMs, nonce);
    this.#asked.delete(nonce);
    // who sends all of it back tells of both directions
    const isBetter = this.#target === undefined || (this.#target.isNext && kind === 'whole');
    const isForgotten = nowMs - Math.max(this.#path.answeredMs ?? 0, this.#targetMs) > FORGOTTEN_MS;
    if (isBetter || isForgotten) {
      this.#target = whom;
      this.#searchMs = SEARCH_MS;
      this.#path.restart();
    }
    this.#targetMs = nowMs;
    return true;
  }

  #search(nowMs: number): Question[] {
    if (nowMs - this.#searchedMs < this.#searchMs) return [];
    if (this.#searchedMs !== Number.NEGATIVE_INFINITY) this.#searchMs = Math.min(this.#searchMs * 2, SEARCH_MOST_MS);
    this.#searchedMs = nowMs;
    const questions = this.#all.map((whom) => ({ whom, nonce: this.#newNonce(), size: SMALL }));
    this.#asked = new Map(questions.map(({ nonce, whom }) => [nonce, whom]));
    return questions;
  }
}
