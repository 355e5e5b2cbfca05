import { CulvertError } from '../errors.ts';
import type { Kernel } from '../linux/apply.ts';
import { diff, type Plan } from '../plan/diff.ts';
import { type KernelObject, LOOPBACK, objectKey, ROUTER } from '../plan/state.ts';
import { planText } from '../plan/text.ts';
import type { SeenDevice, SeenPeer } from '../plan/wireguard/device.ts';
import { publicKeyOf } from '../plan/wireguard/private-key.ts';
import { meshAddress } from './address.ts';
import { ClearWay } from './clear/way.ts';
import { Devices, type TunnelOptions } from './devices.ts';
import { readPrivateKey } from './keys.ts';
import { clearLink, directLink, tunnelLink } from './link.ts';
import { Mesh, type SteeredCourse } from './mesh.ts';
import { type MeshPeer, type PeerChange, Peers } from './peers.ts';
import type { BackendKind, Tunnel } from './tunnel.ts';
import type { Way } from './way.ts';

type TunnelWay = Exclude<Way, 'clear'>;

export type MeshOptions = {
  readonly name: string;
  readonly subnet: MeshPeer['subnet'];
  /** of all hosts' subnets */
  readonly range: MeshPeer['subnet'];
  /** prefix length that no host's subnet is longer than */
  readonly unit: number;
  readonly tunnels: readonly TunnelOptions[];
  /** UDP port of what comes in clear */
  readonly clearPort: number;
  /** name of the link that the host reaches the others by */
  readonly uplink?: string;
  /** file with a key that all hosts share besides their own */
  readonly presharedKeyFile?: string;
  readonly backend: BackendKind;
  /** for a program's socket and log */
  readonly folder: string;
  /** those that were known when the host was last here */
  readonly known: readonly MeshPeer[];
};

/** Of a peer: bytes of encrypted packets, and when the last handshake was, in ms since the epoch, 0 for never. */
export type PeerTraffic = Pick<SeenPeer, 'publicKey' | 'lastHandshakeMs' | 'received' | 'sent'>;

/** How it is to be from now on; what is absent stays. */
export type MeshOrders = {
  readonly tunnels?: readonly TunnelOptions[];
  readonly courses: readonly (readonly [name: string, course: SteeredCourse])[];
  /** bytes, of all links */
  readonly mtu?: number;
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
  readonly #instance: string;
  #mtu: number;
  readonly #peers: Peers;
  readonly #devices: Devices;
  #mesh: Mesh | undefined;
  #clear: ClearWay | undefined;
  #isAll = false;
  /** whose devices have been brought to what they should be */
  #up: ReadonlySet<TunnelWay> = new Set();
  #reconciledMs = Number.NEGATIVE_INFINITY;
  #restsUntilMs = Number.NEGATIVE_INFINITY;
  /** of the last attempt, for as long as none has followed */
  #failure: unknown;

  constructor(
    options: MeshOptions,
    parts: { readonly kernel: Kernel; readonly instance: string; readonly mtu: number },
  ) {
    const { name, subnet, unit, tunnels, known } = options;
    this.#options = options;
    this.#kernel = parts.kernel;
    this.#instance = parts.instance;
    this.#mtu = parts.mtu;
    const keys = tunnels.map(({ rotation, keyFile, port }) => {
      return { rotation, publicKey: publicKeyOf(readPrivateKey(keyFile)), port };
    });
    this.#peers = new Peers(unit, { name, subnet, keys });
    this.#peers.take(known.map((peer) => ({ name: peer.name, peer })));
    const { kernel, instance } = parts;
    this.#devices = new Devices({ ...options, kernel, instance, peers: this.#peers }, tunnels);
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
    // what an earlier run has left of others, half taken away, goes as soon as it is known that they are no more
    if (isAll && !this.#isAll) this.#reconciledMs = Number.NEGATIVE_INFINITY;
    this.#isAll = isAll;
    if (this.#mesh === undefined) {
      this.#peers.take(changes);
      return;
    }
    this.#attempt(this.#mesh, (mesh) => mesh.update(changes));
  }

  /**
   * Goes by other ways, and has other devices.
   *
   * @returns whether it does by now: not before a device that starts is there
   */
  steer({ tunnels, courses, mtu = this.#mtu }: MeshOrders): boolean {
    if (tunnels !== undefined) this.#devices.want(tunnels);
    const mesh = this.#open();
    this.#devices.keep(mesh, this.#mtu);
    if (mesh.isStarting) return false;
    // what a route lets pass is less than its link takes, before and after
    this.#attempt(mesh, () => mesh.steer(courses));
    if (mtu !== this.#mtu) this.#resize(mesh, mtu);
    return true;
  }

  /** What the devices say of each peer; one that is not there says nothing, and {@link step} tells why. */
  traffic(): PeerTraffic[] {
    return [...this.#open().devices.values()].flatMap(({ tunnel }) =>
      [...(readIfThere(tunnel)?.peers.values() ?? [])].map(({ publicKey, lastHandshakeMs, received, sent }) => {
        return { publicKey, lastHandshakeMs, received, sent };
      }),
    );
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
    const mesh = this.#open();
    const devices = this.#devices;
    devices.keep(mesh, this.#mtu);
    const isDue = !devices.isSettled || nowMs - this.#reconciledMs >= RECONCILE_MS;
    // nobody waits for a program: it is looked after again
    if (mesh.isStarting || !isDue) return;
    const base = this.#basePlan();
    this.#kernel.apply(base);
    const changes = mesh.reconcile(Date.now(), this.#terms());
    this.#reconciledMs = nowMs;
    const restarts = devices.restarted.map(({ name }) => `restart WireGuard ${name}`);
    devices.settled();
    const ways = [...mesh.devices.keys()];
    // one that is new has nothing, and that is as it should be
    const isAsBefore = ways.length > 0 && ways.every((way) => this.#up.has(way));
    const all = [...restarts, ...lines(base), ...changes];
    if ((isAsBefore || restarts.length > 0) && all.length > 0) repaired(all);
    this.#up = new Set(ways);
  }

  /** Puts right what is not as it should be, or with `dryRun` says what that is. */
  reconcile({ dryRun }: { readonly dryRun: boolean }): string[] {
    const missing = this.#devices.missing(this.#mesh);
    // a step that follows starts it
    if (this.#mesh === undefined || missing.length > 0) {
      return dryRun ? missing.map(({ name }) => `start WireGuard ${name}`) : [];
    }
    const base = this.#basePlan();
    if (!dryRun) this.#kernel.apply(base);
    return [...lines(base), ...this.#mesh.reconcile(Date.now(), { ...this.#terms(), dryRun })];
  }

  /** Takes all of it away. */
  remove(): void {
    this[Symbol.dispose]();
    this.#devices.remove();
    ClearWay.remove({ kernel: this.#kernel, instance: this.#instance });
  }

  /** Lets go of it; it stays. */
  [Symbol.dispose](): void {
    for (const { tunnel } of this.#mesh?.devices.values() ?? []) tunnel[Symbol.dispose]();
    this.#mesh = undefined;
    this.#clear?.[Symbol.dispose]();
    this.#clear = undefined;
  }

  #resize(mesh: Mesh, mtu: number): void {
    this.#attempt(mesh, () => {
      for (const { tunnel } of mesh.devices.values()) tunnel.resize(mtu);
      mesh.resize(mtu);
    });
    this.#mtu = mtu;
  }

  #terms(): Terms {
    return { removes: this.#isAll };
  }

  #open(): Mesh {
    if (this.#mesh !== undefined) return this.#mesh;
    const [kernel, instance, mtu, peers] = [this.#kernel, this.#instance, this.#mtu, this.#peers];
    const { subnet, range, unit, clearPort, uplink } = this.#options;
    const options = {
      instance,
      subnet,
      range,
      unit,
      mtu,
      port: clearPort,
      ...(uplink === undefined ? {} : { uplink }),
    };
    this.#clear ??= new ClearWay({ kernel, ...options });
    const course = { sends: this.#devices.latestWay, acceptsClear: false } as const;
    const links = [
      ...(['even', 'odd'] as const).map((way) => ({ way, link: tunnelLink(instance, way) })),
      ...[clearLink, directLink].map((linkOf) => ({ way: 'clear', link: linkOf(instance) }) as const),
    ];
    this.#mesh = new Mesh({ kernel, peers, links, clear: this.#clear, course });
    return this.#mesh;
  }

  /** The host's own address among the others. */
  #basePlan(): Plan {
    const wanted: KernelObject[] = [
      {
        kind: 'address',
        namespace: ROUTER,
        link: LOOPBACK,
        address: meshAddress(this.#options.subnet),
        length: 32,
      },
    ];
    const keys = new Set(wanted.map(objectKey));
    const seen = this.#kernel.find(ROUTER, wanted).objects.filter((object) => keys.has(objectKey(object)));
    return diff(seen, wanted);
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

function readIfThere(tunnel: Tunnel): SeenDevice | undefined {
  if (!tunnel.isAlive) return undefined;
  try {
    return tunnel.read();
  } catch (error) {
    if (tunnel.isAlive) throw error;
    return undefined;
  }
}

function lines(plan: Plan): string[] {
  return plan.length === 0 ? [] : planText(plan).split('\n');
}
