import type { Ip } from '../../addr/ip.ts';
import { type KernelObject, ROOT } from '../../plan/state.ts';
import type { Endpoint, Peer, SeenDevice, SeenPeer } from '../../plan/wireguard/device.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { nudge, renewal } from '../device/nudge.ts';
import { SESSION_MS } from '../handshake/wait.ts';
import { Sizes } from '../inside/sizes.ts';
import { whomToAsk } from '../inside/whom.ts';
import { inTurn } from '../journal/turn.ts';
import { deviceOf } from '../plan/device.ts';
import { tunnelObjects } from '../plan/routing.ts';
import { Pauses, sinceBootMs } from '../underlay/pauses.ts';
import { atLeast, sizeIn, type WayOut, WayWatch, waysOut, wayText, widest } from '../underlay/ways.ts';
import type { Connected } from './connected.ts';
import type { Connecting } from './connecting.ts';
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

export type StayingParts = {
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
/** bytes: of what passes in one look, less is no sign that anybody uses the tunnel */
const IDLE_BYTES = 256;
/** bytes that Path begins its search with: of a tunnel of a fixed size it is only asked whether it answers */
const SMALL = 576;

/** How long a size holds that was found before, while it is asked again. */
const ADOPTED_MS = 60_000;

/** A peer of which it is waited to hear since packets to it go another way. */
type Shaken = { readonly received: number; readonly sinceMs: number };

/**
 * Keeps a tunnel on its feet while what it stands on changes: the ways to its endpoints, how large packets these take, and
 * time that has passed unseen.
 */
export class Staying implements Disposable {
  readonly #parts: StayingParts;
  readonly #wanted: Wanted;
  readonly #watch: WayWatch;
  readonly #pauses: Pauses;
  readonly #sizes: Sizes;
  readonly #shaken = new Map<Key, Shaken>();
  /** bytes that the ways take, less what encryption adds */
  #whole: number;
  #mtu: number;
  /** bytes that were found to pass before, by whom it was adopted from */
  #adopted: number | undefined;
  readonly #begunMs = performance.now();
  #passed = Number.NaN;
  #spent = 0;

  constructor(parts: StayingParts) {
    this.#parts = parts;
    const { place, request, connected, everyMs } = parts;
    const { config } = request;
    this.#wanted = new Wanted(place, request);
    const endpoints = endpointsOf(connected.device.read());
    const ways = this.#ways(endpoints);
    const room = widest(ways);
    this.#mtu = connected.mtu;
    this.#whole = room === undefined ? connected.mtu : sizeIn(room, config.addresses);
    this.#adopted = connected.mtu < this.#whole ? connected.mtu : undefined;
    this.#watch = new WayWatch(endpoints, ways);
    this.#pauses = new Pauses(sinceBootMs(), everyMs);
    const sizes = {
      kernel: place.kernel,
      link: connected.device.link,
      whole: config.mtu === undefined ? this.#whole : SMALL,
      whom: new Map(config.peers.map((peer) => [peer.publicKey, whomToAsk(config, peer)])),
      changed: () => this.#resize(),
      failed: parts.news.failed,
    };
    this.#sizes = new Sizes(sizes, this.#mtu);
    this.#sizes.wake();
  }

  /** bytes */
  get mtu(): number {
    return this.#mtu;
  }

  /**
   * Looks what is otherwise than it was. @param seen as the device is
   *
   * @throws CulvertError, SyscallError of what cannot be followed
   */
  look(seen: SeenDevice): void {
    this.#feel(seen);
    const pauseMs = this.#pauses.look(sinceBootMs());
    const endpoints = endpointsOf(seen);
    const ways = this.#ways(endpoints);
    const moved = this.#watch.look(endpoints, ways);
    const room = widest(ways);
    // where there is no way at all, the next one says how large packets may be
    if (room !== undefined && this.#parts.request.config.mtu === undefined) this.#fit(room);
    if (pauseMs !== undefined) this.#parts.news.resumed(pauseMs);
    for (const address of moved) this.#parts.news.underlay(address, textOf(ways.get(address)));
    const isMoved = ({ endpoint }: SeenPeer): boolean => endpoint !== undefined && moved.includes(endpoint.address);
    const shaken = [...seen.peers.values()].filter((peer) => pauseMs !== undefined || isMoved(peer));
    if (shaken.length > 0) this.#shake(seen, shaken);
    if (pauseMs !== undefined) this.#findAnew(shaken);
    this.#follow(seen);
  }

  [Symbol.dispose](): void {
    this.#sizes[Symbol.dispose]();
  }

  #ways(endpoints: readonly Ip[]): ReadonlyMap<Ip, WayOut> {
    const { place, connected } = this.#parts;
    return place.kernel.withSocket(ROOT, (socket) => waysOut(socket, endpoints, connected.numbers.fwMark));
  }

  /** Whether anybody but the questions of sizes uses the tunnel. */
  #feel({ peers }: SeenDevice): void {
    const passed = [...peers.values()].reduce((sum, { sent, received }) => sum + sent + received, 0);
    const own = this.#sizes.spent - this.#spent;
    if (passed - this.#passed - own > IDLE_BYTES) this.#sizes.wake();
    this.#passed = passed;
    this.#spent = this.#sizes.spent;
  }

  #fit(room: number): void {
    const whole = sizeIn(room, this.#parts.request.config.addresses);
    if (performance.now() - this.#begunMs > ADOPTED_MS) this.#adopted = undefined;
    this.#whole = whole;
    this.#sizes.resize(whole);
    this.#resize();
  }

  /** Has the link take what passes. */
  #resize(): void {
    const { connected, request, news } = this.#parts;
    const { config } = request;
    if (config.mtu !== undefined || !connected.device.isAlive) return;
    const passes = this.#sizes.size ?? this.#adopted ?? this.#whole;
    const mtu = atLeast(Math.min(this.#whole, passes), config.addresses);
    if (mtu === this.#mtu) return;
    const former = this.#mtu;
    connected.device.raise(mtu);
    this.#mtu = mtu;
    this.#sizes.linkMtu = mtu;
    news.mtu(mtu, former);
  }

  /** Has peers be sent to by the way that is there now; what others have taken away of the tunnel's routes is put back. */
  #shake(seen: SeenDevice, shaken: readonly SeenPeer[]): void {
    const { place, connected, connecting } = this.#parts;
    connecting.follow(connected);
    const plan = this.#wanted.plan(this.#objects());
    if (plan.length > 0) inTurn(place.common, () => place.kernel.apply(plan));
    const nowMs = performance.now();
    for (const peer of shaken) {
      if (peer.endpoint === undefined) continue;
      const isOver = Date.now() - peer.lastHandshakeMs > SESSION_MS;
      this.#shaken.set(peer.publicKey, { received: peer.received, sinceMs: nowMs });
      // a peer forgets a session that is that old, of which a device that has slept does not know
      this.#say(seen, peer, isOver ? renewal : nudge);
    }
    this.#sizes.hurry();
  }

  #objects(): KernelObject[] {
    const { request, connected } = this.#parts;
    return tunnelObjects(request.config, connected.device.link, connected.numbers);
  }

  /** Where names are of peers that may be elsewhere by now. */
  #findAnew(peers: readonly SeenPeer[]): void {
    const { connecting, connected, news } = this.#parts;
    connecting.refresh(connected, peers).catch(news.failed);
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

  #peer({ peers }: SeenDevice, key: Key): Peer | undefined {
    const { request, connected } = this.#parts;
    const endpoints = new Map<Key, Endpoint>();
    for (const { publicKey, endpoint } of peers.values())
      if (endpoint !== undefined) endpoints.set(publicKey, endpoint);
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
