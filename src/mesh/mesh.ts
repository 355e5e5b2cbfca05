import { CulvertError } from '../errors.ts';
import type { Kernel } from '../linux/apply.ts';
import { type Link, ROUTER } from '../plan/state.ts';
import type { ClearChange, ClearPeer } from './clear/peer.ts';
import type { ClearWay } from './clear/way.ts';
import type { Course } from './course.ts';
import type { DevicePeers } from './device-peers.ts';
import type { MeshPeer, PeerChange, Peers } from './peers.ts';
import { MeshRoutes, type Route, type RouteTurn } from './routes.ts';
import type { Terms } from './tunnel.ts';
import type { Way } from './way.ts';

type TunnelWay = Exclude<Way, 'clear'>;

/** A course, with how large packets to the other host may be where that is less than everywhere. */
export type SteeredCourse = Course & {
  /** bytes */
  readonly mtu?: number;
  /** What is sent in clear goes wrapped although the host is a neighbour: as it is nothing comes through. */
  readonly wraps?: true;
};

export type MeshParts = {
  readonly kernel: Kernel;
  readonly peers: Peers;
  /** the router's ends of all ways, and by which way each goes */
  readonly links: readonly { readonly way: Way; readonly link: Link }[];
  readonly clear: ClearWay;
  /** of a host that nobody has steered yet */
  readonly course: Course;
};

/**
 * The network of all hosts, as one of them has it: WireGuard devices with a peer for each other host, those that are heard
 * in clear, and a route to each host's subnet by one of the ways. One change of one host is one edit of its peer in each
 * device, and one of its route where that is another.
 */
export class Mesh {
  readonly #parts: MeshParts;
  readonly #routes: MeshRoutes;
  readonly #devices = new Map<TunnelWay, DevicePeers>();
  readonly #courses = new Map<string, SteeredCourse>();
  /** whether there is, or is to be, anything for what goes in clear */
  #usesClear = false;

  constructor(parts: MeshParts) {
    this.#parts = parts;
    this.#routes = new MeshRoutes(
      parts.kernel,
      parts.links.map(({ link }) => link),
    );
    this.#adopt();
  }

  get devices(): ReadonlyMap<TunnelWay, DevicePeers> {
    return this.#devices;
  }

  /** Whether the program of a device is on its way. */
  get isStarting(): boolean {
    return [...this.#devices.values()].some(({ tunnel }) => tunnel.isStarting);
  }

  courseTo(name: string): SteeredCourse {
    return this.#courses.get(name) ?? this.#parts.course;
  }

  /** The peers of a device, which is to be reconciled; undefined where there is none any more. */
  setDevice(way: TunnelWay, device: DevicePeers | undefined): void {
    if (device === undefined) this.#devices.delete(way);
    else this.#devices.set(way, device);
  }

  /** Takes in what other hosts tell. @returns what was done, in the words of wg(8) and ip(8) */
  update(changes: readonly PeerChange[]): string[] {
    const turns = this.#parts.peers.take(changes);
    const said = [...this.#devices.values()].flatMap((device) => device.update(turns));
    const routes = turns.map(({ former, next }) => ({ former: this.#routeTo(former), next: this.#routeTo(next) }));
    const heard = turns.flatMap(({ former, next }) => {
      const name = next?.name ?? former?.name ?? '';
      return this.courseTo(name).acceptsClear ? [{ name, peer: next && clearPeerOf(next) }] : [];
    });
    for (const { former, next } of turns)
      if (former !== undefined && next === undefined) this.#courses.delete(former.name);
    // what is sent in clear is to have somewhere to go
    return [...said, ...this.#hear(heard), ...this.#route(routes)];
  }

  /** Sends to hosts by other ways. @returns what was done, in the words of ip(8) */
  steer(courses: readonly (readonly [name: string, course: SteeredCourse])[]): string[] {
    const turns = courses.map(([name, course]) => {
      const peer = this.#parts.peers.used.get(name);
      const former = this.#routeTo(peer);
      this.#courses.set(name, course);
      return { former, next: this.#routeTo(peer) };
    });
    const heard = courses.flatMap(([name, { acceptsClear }]) => {
      const peer = this.#parts.peers.used.get(name);
      return peer === undefined ? [] : [{ name, peer: acceptsClear ? clearPeerOf(peer) : undefined }];
    });
    // who is accepted is so before anything is sent that way
    return [...this.#hear(heard), ...this.#routes.update(turns)];
  }

  /**
   * Puts right what others have changed, and what was not done when it should have been. Where nothing was, nothing is
   * written.
   *
   * @param nowMs since the epoch
   * @returns what was put right
   */
  reconcile(nowMs: number, terms: Terms): string[] {
    const devices = [...this.#devices.values()].flatMap((device) => device.reconcile(nowMs, terms));
    return [...devices, ...this.#reconcileClear(terms), ...this.#routes.reconcile(terms)];
  }

  /** What goes in clear has links of this size. @param mtu bytes */
  resize(mtu: number): string[] {
    this.#parts.clear.resize(mtu);
    return this.#reconcileClear({ removes: false });
  }

  /** Where nobody was ever heard in clear there is nothing of it. */
  #reconcileClear(terms: Terms): string[] {
    const { peers, clear } = this.#parts;
    const accepted = [...peers.used.values()].filter(({ name }) => this.courseTo(name).acceptsClear);
    this.#usesClear ||= accepted.length > 0 || clear.isThere;
    if (!this.#usesClear) return [];
    return clear.bringTo(new Map(accepted.map((peer) => [peer.name, clearPeerOf(peer)])), terms);
  }

  /** What leads through a device that starts, or has yet to, follows when that is there, with everything else. */
  #route(turns: readonly RouteTurn[]): string[] {
    const isThere = (way: Way): boolean => way === 'clear' || this.#devices.get(way)?.tunnel.isStarting === false;
    const links = this.#parts.links.filter(({ way }) => !isThere(way)).map(({ link }) => link.index);
    const waits = ({ next }: RouteTurn): boolean => next !== undefined && links.includes(next.link.index);
    this.#routes.note(turns.filter(waits));
    return this.#routes.update(turns.filter((turn) => !waits(turn)));
  }

  #hear(changes: readonly ClearChange[]): string[] {
    if (changes.length === 0 || (!this.#usesClear && changes.every(({ peer }) => peer === undefined))) return [];
    if (this.#usesClear) return this.#parts.clear.update(changes);
    return this.#reconcileClear({ removes: false });
  }

  /** What is sent where an earlier run has left its routes goes on as it went. */
  #adopt(): void {
    const { links, peers, course, clear } = this.#parts;
    const ways = new Map(links.map(({ way, link }) => [link.index, way]));
    const present = new Map(this.#routes.read().map((route) => [route.destination.address, route]));
    const usesClear = clear.isThere;
    const turns = [...peers.used.values()].map((peer) => {
      const route = present.get(peer.subnet.address);
      const sends = (route === undefined ? undefined : ways.get(route.link.index)) ?? course.sends;
      const acceptsClear = usesClear && clear.accepts(clearPeerOf(peer));
      const wraps = sends === 'clear' && route?.link.index !== clear.linksTo(clearPeerOf(peer))[0].index;
      this.#courses.set(peer.name, {
        sends,
        acceptsClear,
        ...(wraps ? { wraps } : {}),
        ...(route?.mtu === undefined ? {} : { mtu: route.mtu }),
      });
      const next = this.#routeTo(peer);
      return { former: next, next };
    });
    // what is not there is put right with everything else
    this.#routes.note(turns);
  }

  #routeTo(peer: MeshPeer | undefined): Route | undefined {
    if (peer === undefined) return undefined;
    const { links, clear } = this.#parts;
    const { sends, mtu, wraps } = this.courseTo(peer.name);
    if (sends === 'clear') return clear.routeTo(clearPeerOf(peer), { mtu, wraps });
    const link = links.find(({ way }) => way === sends)?.link;
    if (link === undefined) throw new CulvertError('wireguard_failed', `Cannot send by ${sends}: it has no link`);
    const route: Route = { kind: 'route', namespace: ROUTER, destination: peer.subnet, link };
    return mtu === undefined ? route : { ...route, mtu };
  }
}

function clearPeerOf({ name, subnet, address, clearPort, isOnLink }: MeshPeer): ClearPeer {
  return { name, subnet, endpoint: { address, port: clearPort }, onLink: isOnLink };
}
