import { CulvertError } from '../errors.ts';
import type { Kernel } from '../linux/apply.ts';
import type { Link } from '../plan/state.ts';
import { DevicePeers } from './device-peers.ts';
import { readPresharedKey, readPrivateKey } from './keys.ts';
import { tunnelLink } from './link.ts';
import type { Mesh } from './mesh.ts';
import type { Peers } from './peers.ts';
import { type BackendKind, Tunnel } from './tunnel.ts';
import { tunnelWay, type Way } from './way.ts';

type TunnelWay = Exclude<Way, 'clear'>;

/** A WireGuard device that is to be there. */
export type TunnelOptions = {
  /** of its keys */
  readonly rotation: number;
  /** file with the private key */
  readonly keyFile: string;
  /** of UDP */
  readonly port: number;
};

export type DevicesParts = {
  readonly kernel: Kernel;
  readonly instance: string;
  readonly backend: BackendKind;
  /** for a program's socket and log */
  readonly folder: string;
  /** file with a key that all hosts share besides their own */
  readonly presharedKeyFile?: string;
  readonly peers: Peers;
};

/** The WireGuard devices of a host, a program each or the kernel's: those that are to be there, and no others. */
export class Devices {
  readonly #parts: DevicesParts;
  #wanted: readonly TunnelOptions[];
  /** those that were seen alive */
  readonly #alive = new Set<TunnelWay>();
  /** and have died since they were */
  readonly #died = new Set<TunnelWay>();
  #isSettled = false;

  constructor(parts: DevicesParts, wanted: readonly TunnelOptions[]) {
    this.#parts = parts;
    this.#wanted = wanted;
  }

  want(wanted: readonly TunnelOptions[]): void {
    this.#wanted = wanted;
  }

  /** By which hosts are sent to that nobody has steered yet. */
  get latestWay(): TunnelWay {
    const latest = this.#wanted.toSorted((one, other) => other.rotation - one.rotation)[0];
    if (latest === undefined) throw new CulvertError('wireguard_failed', 'Cannot make a mesh without a key');
    return tunnelWay(latest.rotation);
  }

  /** Whether all have what they should have, as far as was seen: one that is new has nothing. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Those that were started anew since all had what they should have. */
  get restarted(): Link[] {
    return [...this.#died].map((way) => this.#linkOf(way));
  }

  settled(): void {
    this.#isSettled = true;
    this.#died.clear();
  }

  /** Those that a mesh, if there is one, lacks. */
  missing(mesh: Mesh | undefined): Link[] {
    const ways = this.#wanted.map(({ rotation }) => tunnelWay(rotation));
    return ways.filter((way) => mesh?.devices.get(way)?.tunnel.isAlive !== true).map((way) => this.#linkOf(way));
  }

  /** Has a mesh have them, or starts them. @param mtu bytes, of one that is new */
  keep(mesh: Mesh, mtu: number): void {
    const wanted = new Map(this.#wanted.map((options) => [tunnelWay(options.rotation), options]));
    for (const [way, { tunnel, rotation }] of mesh.devices) {
      if (wanted.get(way)?.rotation === rotation) continue;
      tunnel[Symbol.dispose]();
      mesh.setDevice(way, undefined);
      this.#alive.delete(way);
      this.#died.delete(way);
      this.#remove(way);
    }
    for (const [way, options] of wanted) this.#keepOne(mesh, way, { options, mtu });
  }

  /** Takes all of them away. */
  remove(): void {
    for (const way of ['even', 'odd'] as const) this.#remove(way);
  }

  #keepOne(
    mesh: Mesh,
    way: TunnelWay,
    { options, mtu }: { readonly options: TunnelOptions; readonly mtu: number },
  ): void {
    const former = mesh.devices.get(way);
    const device = former ?? this.#make(way, options, mtu);
    if (former === undefined) mesh.setDevice(way, device);
    else if (former.tunnel.isAlive) return;
    this.#isSettled = false;
    const { tunnel } = device;
    if (!tunnel.isAlive) {
      if (!tunnel.isStarting) {
        if (this.#alive.delete(way)) this.#died.add(way);
        tunnel.revive();
      }
      tunnel.advance();
    }
    if (tunnel.isAlive) this.#alive.add(way);
  }

  #make(way: TunnelWay, { rotation, keyFile, port }: TunnelOptions, mtu: number): DevicePeers {
    const { kernel, backend, folder, presharedKeyFile, peers } = this.#parts;
    const link = this.#linkOf(way);
    const tunnel = new Tunnel({ kernel, link, mtu, backend, folder });
    const parts = { tunnel, link, rotation, privateKey: readPrivateKey(keyFile), listenPort: port };
    const shared = presharedKeyFile === undefined ? {} : { presharedKey: readPresharedKey(presharedKeyFile) };
    return new DevicePeers({ ...parts, ...shared }, peers.used.values());
  }

  #remove(way: TunnelWay): void {
    const { kernel, folder } = this.#parts;
    Tunnel.remove({ kernel, link: this.#linkOf(way), folder });
  }

  #linkOf(way: TunnelWay): Link {
    return tunnelLink(this.#parts.instance, way);
  }
}
