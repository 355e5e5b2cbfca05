import { isNamespace } from '../../linux/namespace.ts';
import { ROOT } from '../../plan/state.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { type EchoSocket, type Inside, newNonce, openEcho } from './echo-socket.ts';
import { PeerSize, type Question } from './peer-size.ts';
import type { Whom } from './whom.ts';
import { dropWideRoutes, withWideRoute } from './wide-route.ts';

export type SizesParts = {
  readonly inside: Inside;
  /** bytes, the largest packet there is to ask for */
  readonly whole: number;
  /** who may answer behind each peer */
  readonly whom: ReadonlyMap<Key, readonly Whom[]>;
  /** Hears that another size passes, or what went wrong. */
  readonly changed: () => void;
  readonly failed: (error: unknown) => void;
};

/** How often it is looked while an answer is waited for, while there may be something to ask, and else. */
const WAITING_MS = 20;
const BUSY_MS = 200;
const IDLE_MS = 1000;
/** How long it listens after it has asked who answers. */
const HEARD_MS = 2000;
/** How long after something has passed it is asked: a tunnel that nobody uses is left alone. */
const AWAKE_MS = 30_000;
/** bytes that a question takes beside its size, by the largest overhead there is */
const OVERHEAD = 100;
/** Of peers, the first so many. */
const PEERS_MAX = 16;

/** Asks inside a tunnel how large packets may be, while something else passes too. */
export class Sizes implements Disposable {
  readonly #parts: SizesParts;
  /** while something is asked: the namespace of the link does not go while it is open */
  #socket: EchoSocket | undefined;
  #sentMs = Number.NEGATIVE_INFINITY;
  readonly #peers: readonly PeerSize[];
  #whole: number;
  #known: number | undefined;
  #awakeMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout;
  #isOver = false;
  /** bytes that it has had the tunnel carry, at the most */
  spent = 0;
  /** bytes that the link takes */
  linkMtu: number;

  constructor(parts: SizesParts, linkMtu: number) {
    this.#parts = parts;
    this.#whole = parts.whole;
    this.linkMtu = linkMtu;
    dropWideRoutes(parts.inside);
    const all = [...parts.whom.values()].filter((whom) => whom.length > 0).slice(0, PEERS_MAX);
    this.#peers = all.map((whom) => new PeerSize(parts.whole, whom, newNonce));
    this.#timer = setTimeout(() => this.#step(), 0);
  }

  /** bytes that pass to all peers that answer; undefined where none does */
  get size(): number | undefined {
    const sizes = this.#peers.map(({ size }) => size).filter((size) => size !== undefined);
    return sizes.length === 0 ? undefined : Math.min(...sizes);
  }

  resize(whole: number): void {
    if (whole === this.#whole) return;
    this.#whole = whole;
    for (const peer of this.#peers) peer.resize(whole);
  }

  /** Something has passed. */
  wake(): void {
    this.#awakeMs = performance.now();
  }

  /** Packets go another way: all is asked anew, at once. */
  hurry(): void {
    this.wake();
    for (const peer of this.#peers) peer.hurry();
    clearTimeout(this.#timer);
    if (!this.#isOver) this.#timer = setTimeout(() => this.#step(), 0);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#close();
  }

  /** Whether its namespace is; whoever looks after the tunnel tells when that is gone. */
  get #isThere(): boolean {
    const { kernel, at } = this.#parts.inside;
    return at === ROOT || isNamespace(kernel.pin(at));
  }

  #step(): void {
    let restMs = IDLE_MS;
    try {
      if (this.#isThere) restMs = this.#ask(performance.now());
      else this.#close();
      const { size } = this;
      if (size !== this.#known) {
        this.#known = size;
        this.#parts.changed();
      }
    } catch (error) {
      if (this.#isThere) this.#parts.failed(error);
    }
    if (!this.#isOver) this.#timer = setTimeout(() => this.#step(), restMs);
  }

  /** @returns after how many ms it is to be looked again */
  #ask(nowMs: number): number {
    for (const answer of this.#socket?.answers() ?? []) this.#peers.some((peer) => peer.answer(answer, nowMs));
    const isAwake = nowMs - this.#awakeMs < AWAKE_MS;
    for (const peer of this.#peers) {
      if (!isAwake && !peer.isAsking) continue;
      for (const question of peer.questions(nowMs)) this.#send(question);
    }
    if (this.#peers.some(({ isAsking }) => isAsking)) return WAITING_MS;
    if (nowMs - this.#sentMs > HEARD_MS) this.#close();
    return isAwake ? BUSY_MS : IDLE_MS;
  }

  #send({ whom, nonce, size }: Question): void {
    const socket = (this.#socket ??= openEcho(this.#parts.inside));
    const send = (): boolean => socket.ask(whom, nonce, size);
    this.#sentMs = performance.now();
    // the answer is as large
    this.spent += 2 * (size + OVERHEAD);
    if (size <= this.linkMtu) send();
    else withWideRoute(this.#parts.inside, { address: whom.address, mtu: size }, send);
  }

  #close(): void {
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }
}
