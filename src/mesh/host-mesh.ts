import { CulvertError } from '../errors.ts';
import type { Kernel } from '../linux/apply.ts';
import type { Link } from '../plan/state.ts';
import { DevicePeers } from './device-peers.ts';
import { publicKeyOf, readPresharedKey, readPrivateKey } from './keys.ts';
import { Mesh, type SteeredCourse } from './mesh.ts';
import { type MeshPeer, type PeerChange, Peers } from './peers.ts';
import { type BackendKind, Tunnel } from './tunnel.ts';
import { tunnelWay, type Way } from './way.ts';

/** A WireGuard device that is to be there. */
export type TunnelOptions = {
  /** of its keys */
  readonly rotation: number;
  /** file with the private key */
  readonly keyFile: string;
  /** of UDP */
  readonly port: number;
};

export type MeshOptions = {
  readonly name: string;
  readonly subnet: MeshPeer['subnet'];
  /** of all hosts' subnets */
  readonly range: MeshPeer['subnet'];
  /** prefix length that no host's subnet is longer than */
  readonly unit: number;
  readonly tunnels: readonly TunnelOptions[];
  /** file with a key that all hosts share besides their own */
  readonly presharedKeyFile?: string;
  readonly backend: BackendKind;
  /** for a program's socket and log */
  readonly folder: string;
  /** those that were known when the host was last here */
  readonly known: readonly MeshPeer[];
};

/** How it is to be from now on; what is absent stays. */
export type MeshOrders = {
  readonly tunnels?: readonly TunnelOptions[];
  readonly courses: readonly (readonly [name: string, course: SteeredCourse])[];
};

/** How often the devices and the routes are compared with what they should be. */
const RECONCILE_MS = 5_000;
/** How often it is looked whether the devices are there. */
const WATCH_MS = 100;
/** How long after a failure it is tried again. */
const RETRY_MS = 1_000;

type Terms = Parameters<Mesh['reconcile']>[1];

/**
 * The host's part of the mesh, kept up: what cannot be done now is done when it can. Others' packets take it whether or
 * not this process lives.
 */
export class HostMesh implements Disposable {
  readonly #options: MeshOptions;
  readonly #kernel: Kernel;
  readonly #links: Readonly<Record<Way, Link>>;
  readonly #mtu: number;
  readonly #peers: Peers;
  #tunnels: readonly TunnelOptions[];
  #mesh: Mesh | undefined;
  #isAll = false;
  #reconciledMs = Number.NEGATIVE_INFINITY;
  #restsUntilMs = Number.NEGATIVE_INFINITY;
  /** of the last attempt, for as long as none has followed */
  #failure: unknown;

  constructor(
    options: MeshOptions,
    parts: { readonly kernel: Kernel; readonly links: Readonly<Record<Way, Link>>; readonly mtu: number },
  ) {
    const { name, subnet, unit, tunnels, known } = options;
    this.#options = options;
    this.#kernel = parts.kernel;
    this.#links = parts.links;
    this.#mtu = parts.mtu;
    this.#tunnels = tunnels;
    const keys = tunnels.map(({ rotation, keyFile, port }) => {
      return { rotation, publicKey: publicKeyOf(readPrivateKey(keyFile)), port };
    });
    this.#peers = new Peers(unit, { name, subnet, keys });
    this.#peers.take(known.map((peer) => ({ name: peer.name, peer })));
  }

  /** What a person has to see to. */
  problems(): { readonly code: string; readonly message: string }[] {
    return [...this.#peers.refused].map(([name, reason]) => ({
      code: 'peer_refused',
      message: `No traffic with host ${name}: ${reason}`,
    }));
  }

  /**
   * Takes in what other hosts tell. What of it the device refuses is put right by {@link step}.
   *
   * @param isAll whether those that were not told of are no more. Before, what the device has of others stays: the host may
   *   remember less than it knew.
   */
  update(changes: readonly PeerChange[], isAll: boolean): void {
    this.#isAll = isAll;
    if (this.#mesh === undefined) {
      this.#peers.take(changes);
      return;
    }
    this.#attempt(this.#mesh, (mesh) => mesh.update(changes));
  }

  /** Goes by other ways, and has other devices. */
  steer({ tunnels, courses }: MeshOrders): void {
    if (tunnels !== undefined) this.#tunnels = tunnels;
    const mesh = this.#open();
    this.#keepDevices(mesh);
    this.#attempt(mesh, () => mesh.steer(courses));
  }

  /** By which way each host is sent to, as the kernel has it. */
  courses(): [name: string, course: SteeredCourse][] {
    const mesh = this.#open();
    return [...this.#peers.used.keys()].map((name) => [name, mesh.courseTo(name)]);
  }

  /**
   * A little of what keeps it up.
   *
   * @param nowMs of a clock that never goes back
   * @param repaired hears what was put right
   * @throws what kept it from being up when that was last tried
   */
  step(nowMs: number, repaired: (changes: readonly string[]) => void): void {
    if (nowMs < this.#restsUntilMs) {
      if (this.#failure !== undefined) throw this.#failure;
      return;
    }
    try {
      this.#keepUp(nowMs, repaired);
      this.#failure = undefined;
      this.#restsUntilMs = nowMs + WATCH_MS;
    } catch (error) {
      this.#failure = error;
      // what does not answer is waited for, and everything else waits with it
      const isSlow = error instanceof CulvertError && error.code === 'wireguard_slow';
      this.#restsUntilMs = nowMs + (isSlow ? RECONCILE_MS : RETRY_MS);
      throw error;
    }
  }

  #keepUp(nowMs: number, repaired: (changes: readonly string[]) => void): void {
    const isNew = this.#mesh === undefined;
    const mesh = this.#open();
    const revived = this.#keepDevices(mesh);
    // until that has been done they have nothing
    if (revived.length > 0) this.#reconciledMs = Number.NEGATIVE_INFINITY;
    if (nowMs - this.#reconciledMs < RECONCILE_MS) return;
    const changes = mesh.reconcile(Date.now(), this.#terms());
    this.#reconciledMs = nowMs;
    const all = [...revived, ...changes];
    if (!isNew && all.length > 0) repaired(all);
  }

  /** Puts right what is not as it should be, or with `dryRun` says what that is. */
  reconcile({ dryRun }: { readonly dryRun: boolean }): string[] {
    const missing = this.#tunnels
      .map(({ rotation }) => tunnelWay(rotation))
      .filter((way) => this.#mesh?.devices.get(way)?.tunnel.isAlive !== true);
    // a step that follows starts it
    if (this.#mesh === undefined || missing.length > 0) {
      return dryRun ? missing.map((way) => `start WireGuard ${this.#links[way].name}`) : [];
    }
    return this.#mesh.reconcile(Date.now(), { ...this.#terms(), dryRun });
  }

  /** Takes all of it away. */
  remove(): void {
    this[Symbol.dispose]();
    for (const way of ['even', 'odd'] as const) this.#removeDevice(way);
  }

  /** Lets go of it; it stays. */
  [Symbol.dispose](): void {
    for (const { tunnel } of this.#mesh?.devices.values() ?? []) tunnel[Symbol.dispose]();
    this.#mesh = undefined;
  }

  #terms(): Terms {
    return { removes: this.#isAll };
  }

  #open(): Mesh {
    const [kernel, links, peers] = [this.#kernel, this.#links, this.#peers];
    const { rotation } = this.#latest();
    this.#mesh ??= new Mesh({ kernel, links, peers, course: { sends: tunnelWay(rotation), acceptsClear: false } });
    return this.#mesh;
  }

  #latest(): TunnelOptions {
    const latest = this.#tunnels.toSorted((one, other) => other.rotation - one.rotation)[0];
    if (latest === undefined) throw new CulvertError('wireguard_failed', 'Cannot make a mesh without a key');
    return latest;
  }

  /** Has the devices that are to be there, and no others. @returns what was started */
  #keepDevices(mesh: Mesh): string[] {
    const wanted = new Map(this.#tunnels.map((options) => [tunnelWay(options.rotation), options]));
    for (const [way, { tunnel, rotation }] of mesh.devices) {
      if (way === 'clear' || wanted.get(way)?.rotation === rotation) continue;
      tunnel[Symbol.dispose]();
      mesh.setDevice(way, undefined);
      this.#removeDevice(way);
    }
    return [...wanted].flatMap(([way, options]) => this.#keepDevice(mesh, way, options));
  }

  #keepDevice(mesh: Mesh, way: Exclude<Way, 'clear'>, options: TunnelOptions): string[] {
    const device = mesh.devices.get(way);
    if (device === undefined) {
      mesh.setDevice(way, this.#device(way, options));
      this.#reconciledMs = Number.NEGATIVE_INFINITY;
      return [];
    }
    if (device.tunnel.isAlive) return [];
    this.#reconciledMs = Number.NEGATIVE_INFINITY;
    device.tunnel.revive();
    return [`restart WireGuard ${this.#links[way].name}`];
  }

  #device(way: Exclude<Way, 'clear'>, { rotation, keyFile, port }: TunnelOptions): DevicePeers {
    const { backend, folder, presharedKeyFile } = this.#options;
    const link = this.#links[way];
    const tunnel = new Tunnel({ kernel: this.#kernel, link, mtu: this.#mtu, backend, folder });
    const parts = { tunnel, link, rotation, privateKey: readPrivateKey(keyFile), listenPort: port };
    const shared = presharedKeyFile === undefined ? {} : { presharedKey: readPresharedKey(presharedKeyFile) };
    return new DevicePeers({ ...parts, ...shared }, this.#peers.used.values());
  }

  #removeDevice(way: Exclude<Way, 'clear'>): void {
    Tunnel.remove({ kernel: this.#kernel, link: this.#links[way], folder: this.#options.folder });
  }

  /** What is not done here is put right when everything is compared. */
  #attempt(mesh: Mesh, body: (mesh: Mesh) => void): void {
    try {
      body(mesh);
    } catch (error) {
      this.#reconciledMs = Number.NEGATIVE_INFINITY;
      throw error;
    }
  }
}
