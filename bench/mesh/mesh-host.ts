import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Underlay, UnderlayHost } from '../../lab/underlay.ts';
import { waitUntil } from '../../lab/wait.ts';
import { addIpv4, formatIpv4, type Ipv4 } from '../../src/addr/ipv4.ts';
import { Kernel } from '../../src/linux/apply.ts';
import { ClearWay } from '../../src/mesh/clear/way.ts';
import { DevicePeers } from '../../src/mesh/device-peers.ts';
import { generatePrivateKey } from '../../src/mesh/keys.ts';
import { DEFAULT_CLEAR_PORT } from '../../src/mesh/link.ts';
import { Mesh } from '../../src/mesh/mesh.ts';
import { type MeshPeer, Peers } from '../../src/mesh/peers.ts';
import { Tunnel } from '../../src/mesh/tunnel.ts';
import { diff } from '../../src/plan/diff.ts';
import { type Link, ROOT, ROUTER } from '../../src/plan/state.ts';
import { publicKeyOf } from '../../src/plan/wireguard/private-key.ts';
import { RANGE, subnetOf, UNIT } from './strangers.ts';

export const PORT = 51_820;
export const MTU = 1420;
const INDEX = 9_997;

/** A host's part of the mesh without a daemon: its router namespace with one address of its subnet, and the device. */
export class MeshHost implements Disposable {
  readonly place: UnderlayHost;
  readonly privateKey = generatePrivateKey();
  readonly peer: MeshPeer;
  readonly address: Ipv4;
  readonly kernel: Kernel;
  readonly tunnel: Tunnel;
  readonly mesh: Mesh;
  readonly link: Link;
  /** of the program's socket */
  readonly folder: string;
  readonly #underlay: Underlay;
  readonly #clear: ClearWay;

  constructor(underlay: Underlay, place: UnderlayHost, index: number) {
    this.#underlay = underlay;
    this.place = place;
    const subnet = subnetOf(index);
    const publicKey = publicKeyOf(this.privateKey);
    const { name, address } = place;
    const keys = [{ rotation: 0, publicKey, port: PORT }];
    this.peer = { name, subnet, address, clearPort: DEFAULT_CLEAR_PORT, isOnLink: false, keys };
    this.address = addIpv4(subnet.address, 1);
    this.link = { name: `wa-${place.name}`, index: INDEX };
    this.folder = join(place.folder, 'wireguard');
    const pins = join(place.folder, 'netns');
    mkdirSync(pins);
    this.kernel = this.#inside(() => new Kernel(pins, [ROOT, ROUTER]));
    this.#inside(() => this.kernel.apply(diff([], [{ kind: 'namespace', namespace: ROUTER }])));
    underlay.run(this.router, 'ip', 'address', 'add', `${formatIpv4(this.address)}/32`, 'dev', 'lo');
    underlay.run(this.router, 'ip', 'link', 'set', 'lo', 'up');
    const { kernel, link, privateKey } = this;
    const parts = { kernel, link, mtu: MTU, backend: 'userspace', folder: this.folder } as const;
    this.tunnel = this.#inside(() => new Tunnel(parts));
    this.#inside(() =>
      waitUntil(() => {
        this.tunnel.advance();
        return !this.tunnel.isStarting;
      }),
    );
    const peers = new Peers(UNIT, this.peer);
    const clear = { instance: place.name, subnet, range: RANGE, unit: UNIT, port: DEFAULT_CLEAR_PORT, mtu: MTU };
    const links = [{ way: 'even', link } as const];
    const course = { sends: 'even', acceptsClear: false } as const;
    this.#clear = this.#inside(() => new ClearWay({ kernel, ...clear }));
    this.mesh = this.#inside(() => new Mesh({ kernel, peers, links, clear: this.#clear, course }));
    const device = { tunnel: this.tunnel, link, rotation: 0, privateKey, listenPort: PORT };
    this.mesh.setDevice('even', new DevicePeers(device, []));
    this.reconcile();
  }

  /** The pin of its router namespace. */
  get router(): string {
    return this.kernel.pin(ROUTER);
  }

  know(...peers: readonly MeshPeer[]): string[] {
    return this.#inside(() => this.mesh.update(peers.map((peer) => ({ name: peer.name, peer }))));
  }

  reconcile({ dryRun = false }: { readonly dryRun?: boolean } = {}): string[] {
    return this.#inside(() => this.mesh.reconcile(Date.now(), { removes: true, dryRun }));
  }

  [Symbol.dispose](): void {
    this.tunnel[Symbol.dispose]();
    this.#clear[Symbol.dispose]();
    this.#inside(() => Tunnel.remove(this));
    this.kernel[Symbol.dispose]();
  }

  #inside<T>(body: () => T): T {
    return this.#underlay.inside(this.place, body);
  }
}
