import type { SeenPeer } from '../../plan/wireguard/device.ts';

/** What became of a peer since it was last looked at. */
export type PeerNews =
  | { readonly kind: 'handshake' | 'stale' | 'heard'; readonly peer: SeenPeer }
  | { readonly kind: 'roamed'; readonly peer: SeenPeer; readonly former: SeenPeer };

/** Who is sent data, or begins of handshakes, says something within ten seconds; after fifteen it is given up (WireGuard, 6.5). */
const SILENCE_MS = 15_000;
/** bytes of a message that keeps alive, which nobody answers */
const KEEPALIVE = 32;
/** Of those in a row that were not sent: the network refuses them. */
const UNSENT = 3;
/** What they may be late. */
const LATE_MS = 5000;

type Watched = {
  peer: SeenPeer;
  /** when it was looked at */
  atMs: number;
  /** when anything was sent to it */
  sentMs: number;
  /** since when it has been sent what is answered and has not been heard; undefined where it was heard last */
  askedMs: number | undefined;
  isStale: boolean;
};

/** Tells how peers are by what their device says of them from time to time. */
export class PeerWatch {
  readonly #watched = new Map<string, Watched>();

  /**
   * @param peers as they are when it begins
   * @param nowMs of a clock that never goes back
   */
  constructor(peers: ReadonlyMap<string, SeenPeer>, nowMs: number) {
    for (const [key, peer] of peers) this.#begin(key, peer, nowMs);
  }

  /** Peers that do not answer. */
  get stale(): SeenPeer[] {
    return [...this.#watched.values()].flatMap(({ peer, isStale }) => (isStale ? [peer] : []));
  }

  /** @param nowMs of a clock that never goes back */
  look(peers: ReadonlyMap<string, SeenPeer>, nowMs: number): PeerNews[] {
    for (const key of this.#watched.keys()) if (!peers.has(key)) this.#watched.delete(key);
    return [...peers].flatMap(([key, peer]) => this.#lookAt(key, peer, nowMs));
  }

  #lookAt(key: string, peer: SeenPeer, nowMs: number): PeerNews[] {
    const watched = this.#watched.get(key);
    if (watched === undefined) {
      this.#begin(key, peer, nowMs);
      return [];
    }
    const { peer: former, isStale: wasStale } = watched;
    const news: PeerNews[] = [];
    if (hasRoamed(former, peer)) news.push({ kind: 'roamed', peer, former });
    if (peer.lastHandshakeMs > former.lastHandshakeMs) news.push({ kind: 'handshake', peer });
    // one that was given a new session counts from the beginning
    const isHeard = peer.received !== former.received && peer.received > 0;
    if (isHeard || peer.sent !== former.sent) watched.sentMs = nowMs;
    if (isHeard) watched.askedMs = undefined;
    else if (isAsked(watched, peer, nowMs)) watched.askedMs ??= nowMs;
    watched.isStale = isSilent(watched, nowMs);
    if (watched.isStale && !wasStale) news.push({ kind: 'stale', peer });
    if (!watched.isStale && wasStale) news.push({ kind: 'heard', peer });
    watched.peer = peer;
    watched.atMs = nowMs;
    return news;
  }

  #begin(key: string, peer: SeenPeer, nowMs: number): void {
    this.#watched.set(key, { peer, atMs: nowMs, sentMs: nowMs, askedMs: undefined, isStale: false });
  }
}

/** Whether it was sent more since than what keeps alive. */
function isAsked({ peer: former, atMs }: Watched, { sent, keepalive_s }: SeenPeer, nowMs: number): boolean {
  const keepalives = keepalive_s === 0 ? 0 : Math.ceil((nowMs - atMs) / 1000 / keepalive_s);
  return sent - former.sent > KEEPALIVE * keepalives;
}

function isSilent({ peer: { keepalive_s }, askedMs, sentMs }: Watched, nowMs: number): boolean {
  if (askedMs !== undefined && nowMs - askedMs >= SILENCE_MS) return true;
  return keepalive_s > 0 && nowMs - sentMs > UNSENT * keepalive_s * 1000 + LATE_MS;
}

function hasRoamed({ endpoint: former }: SeenPeer, { endpoint }: SeenPeer): boolean {
  if (former === undefined || endpoint === undefined) return false;
  return former.address !== endpoint.address || former.port !== endpoint.port;
}
