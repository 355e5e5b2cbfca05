import type { Ip } from '../../addr/ip.ts';
import { ROOT } from '../../plan/state.ts';
import type { Endpoint, Peer, SeenDevice, SeenPeer } from '../../plan/wireguard/device.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { nudge, renewal } from '../device/nudge.ts';
import { SESSION_MS } from '../handshake/wait.ts';
import { inTurn } from '../journal/turn.ts';
import { deviceOf } from '../plan/device.ts';
import { tunnelObjects } from '../plan/routing.ts';
import { Pauses, sinceBootMs } from '../underlay/pauses.ts';
import { type WayOut, WayWatch, waysOut, wayText, widest } from '../underlay/ways.ts';
import type { Connected } from './connected.ts';
import type { Connecting } from './connecting.ts';
import { Fitting } from './fitting.ts';
import type { ConnectRequest } from './request.ts';
import { Wanted } from './wanted.ts';
import type { Workplace } from './workplace.ts';

/** What is told of what becomes of a tunnel's ways. */
type StayingNews = {
  /** It is of another size now, bytes. */
  readonly mtu: (mtu: number, former: number) => void;
  /** Packets to an endpoint go another way now, in the words of ip-route(8). */
  readonly underlay: (endpoint: Ip, way: string) => void;
  /** It was not looked for so many ms: the machine slept, or the process was stopped. */
  readonly resumed: (pauseMs: number) => void;
  readonly failed: (error: unknown) => void;
};

type StayingParts = {
  readonly place: Workplace;
  readonly request: ConnectRequest;
  readonly connected: Connected;
  readonly connecting: Connecting;
  readonly news: StayingNews;
  /** how often it is looked, ms */
  readonly everyMs: number;
};

/** Longer than an answer takes, of a peer that is there. */
const ANSWER_MS = 3000;

/** A peer of which it is waited to hear since packets to it go another way. */
type Shaken = { readonly received: number; readonly sinceMs: number };

/**
 * Keeps a tunnel on its feet while what it stands on changes: the ways to its endpoints, how large packets these take, and
 * time that has passed unseen.
 *
 *     another way, or a pause ──▶ a word to the peer at once ──not heard in 3 s──▶ a new session
 *                     └─ of which no session outlives it ─────────────────────────────▲
 */
export class Staying implements Disposable {
  readonly #parts: StayingParts;
  readonly #watch: WayWatch;
  readonly #pauses: Pauses;
  readonly #fitting: Fitting;
  readonly #shaken = new Map<Key, Shaken>();

  constructor(parts: StayingParts) {
    this.#parts = parts;
    const { place, request, connected, everyMs, news } = parts;
    const endpoints = endpointsOf(connected.device.read());
    const ways = this.#ways(endpoints);
    this.#watch = new WayWatch(endpoints, ways);
    this.#pauses = new Pauses(sinceBootMs(), everyMs);
    this.#fitting = new Fitting({
      inside: { kernel: place.kernel, at: place.at, link: connected.device.link },
      config: request.config,
      connected,
      room: widest(ways),
      changed: news.mtu,
      failed: news.failed,
    });
  }

  /** bytes, of the tunnel's packets */
  get mtu(): number {
    return this.#fitting.mtu;
  }

  /**
   * Looks what is otherwise than it was. @param seen as the device is
   *
   * @throws CulvertError, SyscallError of what cannot be followed
   */
  look(seen: SeenDevice): void {
    const { news } = this.#parts;
    const pauseMs = this.#pauses.look(sinceBootMs());
    const endpoints = endpointsOf(seen);
    const ways = this.#ways(endpoints);
    const moved = this.#watch.look(endpoints, ways);
    this.#fitting.look(seen, widest(ways));
    if (pauseMs !== undefined) news.resumed(pauseMs);
    for (const address of moved) news.underlay(address, textOf(ways.get(address)));
    const isMoved = ({ endpoint }: SeenPeer): boolean => endpoint !== undefined && moved.includes(endpoint.address);
    const shaken = [...seen.peers.values()].filter((peer) => pauseMs !== undefined || isMoved(peer));
    if (shaken.length > 0) this.#shake(seen, shaken);
    // names of peers may mean others by now
    if (pauseMs !== undefined) this.#parts.connecting.refresh(this.#parts.connected, shaken).catch(news.failed);
    this.#follow(seen);
  }

  [Symbol.dispose](): void {
    this.#fitting[Symbol.dispose]();
  }

  #ways(endpoints: readonly Ip[]): ReadonlyMap<Ip, WayOut> {
    const { place, connected } = this.#parts;
    return place.kernel.withSocket(ROOT, (socket) => waysOut(socket, endpoints, connected.numbers.fwMark));
  }

  /** Has peers be sent to by the way that is there now; what others have taken away of the tunnel's routes is put back. */
  #shake(seen: SeenDevice, shaken: readonly SeenPeer[]): void {
    const { place, request, connected, connecting } = this.#parts;
    connecting.follow(connected);
    const objects = tunnelObjects(request.config, connected.device.link, connected.numbers, place.at);
    const plan = new Wanted(place, request).plan(objects);
    if (plan.length > 0) inTurn(place.common, () => place.kernel.apply(plan));
    const sinceMs = performance.now();
    for (const peer of shaken) {
      if (peer.endpoint === undefined) continue;
      const isOver = Date.now() - peer.lastHandshakeMs > SESSION_MS;
      this.#shaken.set(peer.publicKey, { received: peer.received, sinceMs });
      // a peer forgets a session that is that old, of which a device that has slept does not know
      this.#say(seen, peer, isOver ? renewal : nudge);
    }
    this.#fitting.hurry();
  }

  /** Has those begin anew that do not answer. */
  #follow(seen: SeenDevice): void {
    const nowMs = performance.now();
    for (const [key, { received, sinceMs }] of this.#shaken) {
      const peer = seen.peers.get(key);
      const isHeard = peer === undefined || (peer.received !== received && peer.received > 0);
      if (!isHeard && nowMs - sinceMs < ANSWER_MS) continue;
      this.#shaken.delete(key);
      if (!isHeard) this.#say(seen, peer, renewal);
    }
  }

  #say(seen: SeenDevice, { publicKey, endpoint }: SeenPeer, what: typeof nudge): void {
    const peer = this.#peer(seen, publicKey);
    if (peer === undefined) return;
    for (const edits of what(peer, endpoint)) this.#parts.connected.device.edit(edits);
  }

  /** As it is to be, where it is heard. */
  #peer({ peers }: SeenDevice, key: Key): Peer | undefined {
    const { request, connected } = this.#parts;
    const endpoints = new Map<Key, Endpoint>();
    for (const { publicKey, endpoint } of peers.values()) {
      if (endpoint !== undefined) endpoints.set(publicKey, endpoint);
    }
    return deviceOf(request.config, { endpoints, fwMark: connected.numbers.fwMark }, false).peers.get(key);
  }
}

function endpointsOf({ peers }: SeenDevice): Ip[] {
  const endpoints = [...peers.values()].map(({ endpoint }) => endpoint?.address);
  return [...new Set(endpoints.filter((address) => address !== undefined))];
}

function textOf(way: WayOut | undefined): string {
  return way === undefined ? '' : wayText(way);
}
