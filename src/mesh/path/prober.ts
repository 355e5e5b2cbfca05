import type { Ipv4 } from '../../addr/ipv4.ts';
import type { PathTiming } from '../../plan/path/path.ts';
import type { Leg } from '../way.ts';
import { OUTER, type Packet, readPacket, SMALLEST, writePacket } from './packet.ts';
import { PeerPaths } from './peer-paths.ts';

export type ProberParts = {
  /** bytes of the IP packets that sandboxes may send */
  readonly whole: number;
  readonly timing: PathTiming;
  /** questions a second, of all hosts together, however many there are */
  readonly perSecond: number;
  readonly newNonce: () => bigint;
  readonly send: (leg: Leg, to: { readonly name: string; readonly address: Ipv4 }, bytes: Uint8Array) => void;
  /** what this host tells of itself: the epoch that it has reached, and by which way it sends to the other */
  readonly self: (name: string) => Pick<Packet, 'epoch' | 'way'>;
  /** Hears that more is known of the ways to a host; there may be something to ask at once. */
  readonly learned: (name: string) => void;
};

type Peer = { readonly name: string; readonly address: Ipv4; readonly paths: PeerPaths };

/** Answers a second, to all hosts together: as many as they may ask where all of them are in a hurry. */
const ANSWERS_PER_SECOND = 2000;
/** Of what may be done in a second: what may be done at once. */
const BURST_SHARE = 0.1;

/** So many a second and no more, with a few at once. */
class Budget {
  readonly #perSecond: number;
  #left: number;
  #atMs = Number.NEGATIVE_INFINITY;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#left = 0;
  }

  take(nowMs: number): boolean {
    const most = Math.max(1, this.#perSecond * BURST_SHARE);
    this.#left = Math.min(most, this.#left + ((nowMs - this.#atMs) * this.#perSecond) / 1000);
    this.#atMs = nowMs;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

/** While there are more questions than may be asked. */
const BUSY_REST_MS = 20;
/** At the most: a host that is new asks at once. */
const IDLE_REST_MS = 1000;

/**
 * Finds out, for every other host, whether packets pass by the legs that are in use and how large they may be, and answers
 * the others' questions by the leg that they came by. What it asks a second is bounded, and every host has its turn.
 */
export class Prober {
  readonly #parts: ProberParts;
  readonly #peers = new Map<string, Peer>();
  readonly #byAddress = new Map<Ipv4, Peer>();
  readonly #questions: Budget;
  readonly #answers = new Budget(ANSWERS_PER_SECOND);
  #whole: number;
  /** whose turn it is */
  #turn = 0;
  #order: readonly Peer[] | undefined;

  constructor(parts: ProberParts) {
    this.#parts = parts;
    this.#whole = parts.whole;
    this.#questions = new Budget(parts.perSecond);
  }

  /** @param address that the host answers at; undefined for one that is there no more */
  setPeer(name: string, address: Ipv4 | undefined): void {
    const former = this.#peers.get(name);
    if (former?.address === address) return;
    if (former !== undefined) {
      this.#peers.delete(name);
      if (this.#byAddress.get(former.address) === former) this.#byAddress.delete(former.address);
    }
    if (address !== undefined) {
      const peer = { name, address, paths: new PeerPaths(this.#whole, this.#parts.timing) };
      this.#peers.set(name, peer);
      this.#byAddress.set(address, peer);
    }
    this.#order = undefined;
  }

  pathsTo(name: string): PeerPaths | undefined {
    return this.#peers.get(name)?.paths;
  }

  resize(whole: number): void {
    this.#whole = whole;
    for (const { paths } of this.#peers.values()) paths.resize(whole);
  }

  /** What was proved says nothing any more: all are asked anew. */
  forgetProofs(): void {
    for (const { paths } of this.#peers.values()) paths.forgetProofs();
  }

  /** Asks what it is time for. @returns after how many ms there is more */
  step(nowMs: number): number {
    this.#order ??= [...this.#peers.values()];
    const order = this.#order;
    let nextMs = nowMs + IDLE_REST_MS;
    for (let count = 0; count < order.length; count++) {
      const peer = order[this.#turn % order.length];
      if (peer === undefined) break;
      for (const leg of peer.paths.legs) {
        const dueMs = peer.paths.dueMs(leg);
        if (dueMs > nowMs) {
          nextMs = Math.min(nextMs, dueMs);
          continue;
        }
        if (!this.#questions.take(nowMs)) return BUSY_REST_MS;
        this.#ask(peer, leg, nowMs);
        nextMs = Math.min(nextMs, peer.paths.dueMs(leg));
      }
      this.#turn = (this.#turn + 1) % order.length;
    }
    return Math.max(1, nextMs - nowMs);
  }

  /** Takes in a packet that came by a leg. @param from its source, which the leg has bound to the host */
  hear(leg: Leg, from: Ipv4, bytes: Uint8Array, nowMs: number): void {
    const peer = this.#byAddress.get(from);
    const packet = peer === undefined ? undefined : readPacket(bytes);
    if (peer === undefined || packet === undefined) return;
    const { kind, nonce, carries, epoch } = packet;
    const { paths, name } = peer;
    if (kind === 'answer' && !paths.answer(leg, nonce, carries, nowMs)) return;
    paths.hear({ way: packet.way, epoch }, nowMs);
    if (kind !== 'answer') {
      paths.told(leg, carries);
      if (!this.#answers.take(nowMs)) return;
      const answer = { ...this.#self(peer, leg), kind: 'answer', nonce } as const;
      this.#parts.send(leg, peer, writePacket(answer, kind === 'ask whole' ? bytes.length + OUTER : SMALLEST));
    }
    this.#parts.learned(name);
  }

  #ask(peer: Peer, leg: Leg, nowMs: number): void {
    for (const { size, isWhole, nonce } of peer.paths.ask(leg, nowMs, this.#parts.newNonce)) {
      const packet = { ...this.#self(peer, leg), kind: isWhole ? 'ask whole' : 'ask', nonce } as const;
      this.#parts.send(leg, peer, writePacket(packet, size));
    }
  }

  #self({ name, paths }: Peer, leg: Leg): Omit<Packet, 'kind' | 'nonce'> {
    return { ...this.#parts.self(name), carries: paths.pathBy(leg)?.size ?? 0 };
  }
}
