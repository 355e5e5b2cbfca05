import type { SeenPeer } from '../../plan/wireguard/device.ts';

/** What became of a peer since it was last looked at. */
export type PeerNews =
  | { readonly kind: 'handshake' | 'stale' | 'heard'; readonly peer: SeenPeer }
  | { readonly kind: 'roamed'; readonly peer: SeenPeer; readonly former: SeenPeer };

/** A peer that has data answers it, or keeps alive, within ten seconds, and gives up after fifteen (WireGuard, 6.5). */
const SILENCE_MS = 15_000;

type Watched = {
  peer: SeenPeer;
  /** since when it has been sent to and has not been heard; undefined where it was heard last */
  askedMs: number | undefined;
  isStale: boolean;
};

/** Tells how peers are by what their device says of them from time to time. */
export class PeerWatch {
  readonly #watched = new Map<string, Watched>();

  /** @param peers as they are when it begins */
  constructor(peers: ReadonlyMap<string, SeenPeer>) {
    for (const [key, peer] of peers) this.#watched.set(key, { peer, askedMs: undefined, isStale: false });
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
      this.#watched.set(key, { peer, askedMs: undefined, isStale: false });
      return [];
    }
    const { peer: former, isStale: wasStale } = watched;
    const news: PeerNews[] = [];
    if (hasRoamed(former, peer)) news.push({ kind: 'roamed', peer, former });
    if (peer.lastHandshakeMs > former.lastHandshakeMs) news.push({ kind: 'handshake', peer });
    const isHeard = peer.received !== former.received;
    if (isHeard) watched.askedMs = undefined;
    else if (peer.sent !== former.sent) watched.askedMs ??= nowMs;
    watched.isStale = watched.askedMs !== undefined && nowMs - watched.askedMs >= SILENCE_MS;
    if (watched.isStale && !wasStale) news.push({ kind: 'stale', peer });
    if (!watched.isStale && wasStale) news.push({ kind: 'heard', peer });
    watched.peer = peer;
    return news;
  }
}

function hasRoamed({ endpoint: former }: SeenPeer, { endpoint }: SeenPeer): boolean {
  if (former === undefined || endpoint === undefined) return false;
  return former.address !== endpoint.address || former.port !== endpoint.port;
}
