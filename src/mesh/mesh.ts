import type { Kernel } from '../linux/apply.ts';
import { type Link, ROUTER } from '../plan/state.ts';
import type { Course } from './course.ts';
import type { DevicePeers } from './device-peers.ts';
import type { MeshPeer, PeerChange, Peers } from './peers.ts';
import { MeshRoutes, type Route } from './routes.ts';
import type { Terms } from './tunnel.ts';
import { WAYS, type Way } from './way.ts';

/** A course, with how large packets to the other host may be where that is less than everywhere. */
export type SteeredCourse = Course & {
  /** bytes */
  readonly mtu?: number;
};

export type MeshParts = {
  readonly kernel: Kernel;
  readonly peers: Peers;
  /** the router's end of each way */
  readonly links: Readonly<Record<Way, Link>>;
  /** of a host that nobody has steered yet */
  readonly course: Course;
};

/**
 * The network of all hosts, as one of them has it: WireGuard devices with a peer for each other host, and a route to each
 * host's subnet by one of the ways. One change of one host is one edit of its peer in each device, and one of its route
 * where that is another.
 */
export class Mesh {
  readonly #parts: MeshParts;
  readonly #routes: MeshRoutes;
  readonly #devices = new Map<Way, DevicePeers>();
  readonly #courses = new Map<string, SteeredCourse>();

  constructor(parts: MeshParts) {
    this.#parts = parts;
    this.#routes = new MeshRoutes(parts.kernel, Object.values(parts.links));
    this.#adopt();
  }

  get devices(): ReadonlyMap<Way, DevicePeers> {
    return this.#devices;
  }

  courseTo(name: string): SteeredCourse {
    return this.#courses.get(name) ?? this.#parts.course;
  }

  /** The peers of a device, which is to be reconciled; undefined where there is none any more. */
  setDevice(way: Exclude<Way, 'clear'>, device: DevicePeers | undefined): void {
    if (device === undefined) this.#devices.delete(way);
    else this.#devices.set(way, device);
  }

  /** Takes in what other hosts tell. @returns what was done, in the words of wg(8) and ip(8) */
  update(changes: readonly PeerChange[]): string[] {
    const turns = this.#parts.peers.take(changes);
    const said = [...this.#devices.values()].flatMap((device) => device.update(turns));
    const routes = turns.map(({ former, next }) => ({ former: this.#routeTo(former), next: this.#routeTo(next) }));
    for (const { former, next } of turns)
      if (former !== undefined && next === undefined) this.#courses.delete(former.name);
    return [...said, ...this.#routes.update(routes)];
  }

  /** Sends to hosts by other ways. @returns what was done, in the words of ip(8) */
  steer(courses: readonly (readonly [name: string, course: SteeredCourse])[]): string[] {
    const turns = courses.map(([name, course]) => {
      const peer = this.#parts.peers.used.get(name);
      const former = this.#routeTo(peer);
      this.#courses.set(name, course);
      return { former, next: this.#routeTo(peer) };
    });
    return this.#routes.update(turns);
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
    return [...devices, ...this.#routes.reconcile(terms)];
  }

  /** What is sent where an earlier run has left its routes goes on as it went. */
  #adopt(): void {
    const { links, peers, course } = this.#parts;
    const ways = new Map(WAYS.map((way) => [links[way].index, way]));
    const present = new Map(this.#routes.read().map((route) => [route.destination.address, route]));
    const turns = [...peers.used.values()].map((peer) => {
      const route = present.get(peer.subnet.address);
      const sends = route === undefined ? undefined : ways.get(route.link.index);
      if (route !== undefined && sends !== undefined) {
        const { mtu } = route;
        this.#courses.set(peer.name, { ...course, sends, ...(mtu === undefined ? {} : { mtu }) });
      }
      const next = this.#routeTo(peer);
      return { former: next, next };
    });
    // they are only to be known: what is not there is put right with everything else
    this.#routes.update(turns);
  }

  #routeTo(peer: MeshPeer | undefined): Route | undefined {
    if (peer === undefined) return undefined;
    const { sends, mtu } = this.courseTo(peer.name);
    const route: Route = { kind: 'route', namespace: ROUTER, destination: peer.subnet, link: this.#parts.links[sends] };
    return mtu === undefined ? route : { ...route, mtu };
  }
}
