import { generateKeyPairSync } from 'node:crypto';
import { formatIp, type Ip, ipBits } from '../../../addr/ip.ts';
import { CulvertError } from '../../../errors.ts';
import type { Device, Endpoint, Peer, SeenDevice } from '../../../plan/wireguard/device.ts';
import { edits } from '../../../plan/wireguard/edit.ts';
import { type Key, keyOf } from '../../../plan/wireguard/key.ts';
import type { WireguardBackend } from '../backend.ts';
import type { Side, TunnelHosts } from './hosts.ts';
import { type DeviceMaker, type LabDevice, WG0 } from './lab-device.ts';
import { until } from './until.ts';

export const PORT = 51_820;

/** of a program in an emulated machine whose processors others use too */
const ATTEMPTS_MAX = 20;

type KeyPair = { readonly privateKey: Key; readonly publicKey: Key };

function keyPair(): KeyPair {
  const { d = '', x = '' } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  const [privateKey, publicKey] = [d, x].map((part) => keyOf(Buffer.from(part, 'base64url')));
  if (privateKey === undefined || publicKey === undefined) throw new Error('A pair of keys is two');
  return { privateKey, publicKey };
}

/** One end of a {@link Tunnel}. */
export class End implements AsyncDisposable {
  readonly side: Side;
  readonly device: LabDevice;
  readonly backend: WireguardBackend;
  readonly keys = keyPair();

  constructor(side: Side, maker: DeviceMaker) {
    this.side = side;
    this.device = maker.make(side);
    this.backend = this.device.open();
  }

  /** Sets the device up with peers and its link. */
  raise(...peers: readonly Peer[]): void {
    this.bring(this.as(...peers));
    this.raiseLink();
  }

  raiseLink(): void {
    const { router, inner, inner6 } = this.side;
    router.ip(
      `link set ${WG0.name} up`,
      `address add ${formatIp(inner)}/24 dev ${WG0.name}`,
      `address add ${formatIp(inner6)}/64 dev ${WG0.name} nodad`,
    );
  }

  /** Says what there is to say so that the device is so. */
  bring(desired: Device): void {
    patiently(() => this.backend.edit(edits(this.backend.read(), desired, Date.now())));
  }

  /** The device, however slow. */
  read(): SeenDevice {
    return patiently(() => this.backend.read());
  }

  /** The device that has these peers. */
  as(...peers: readonly Peer[]): Device {
    const { privateKey } = this.keys;
    return { privateKey, listenPort: PORT, peers: new Map(peers.map((peer) => [peer.publicKey, peer])) };
  }

  /** What another end has to know to speak with this one. */
  get peer(): Peer {
    const { outer, inner, inner6 } = this.side;
    return {
      publicKey: this.keys.publicKey,
      endpoint: { address: outer, port: PORT },
      keepalive_s: 0,
      allowedIps: [inner, inner6].map((address) => ({ address, length: ipBits(address) })),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.backend[Symbol.dispose]();
    await this.device[Symbol.asyncDispose]();
  }
}

/** Two devices that know each other. */
export class Tunnel implements AsyncDisposable {
  readonly left: End;
  readonly right: End;

  constructor(hosts: TunnelHosts, maker: DeviceMaker) {
    this.left = new End(hosts.left, maker);
    this.right = new End(hosts.right, maker);
  }

  /**
   * Resolves when it carries packets.
   *
   * @param endpoint where one side sends the other what is encrypted
   */
  async raise(endpoint: (from: Side, to: Side) => Endpoint = byIpv4): Promise<void> {
    const { left, right } = this;
    left.raise({ ...right.peer, endpoint: endpoint(left.side, right.side) });
    right.raise({ ...left.peer, endpoint: endpoint(right.side, left.side) });
    await until('the tunnel to carry packets', () => reaches(left, right));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.left, this.right].map((end) => end[Symbol.asyncDispose]()));
  }
}

export function byIpv4(_: Side, { outer }: Side): Endpoint {
  return { address: outer, port: PORT };
}

export function byIpv6(_: Side, { outer6 }: Side): Endpoint {
  return { address: outer6, port: PORT };
}

export function byLinkLocal({ uplink }: Side, { linkLocal }: Side): Endpoint {
  return { address: linkLocal, port: PORT, scopeId: uplink };
}

/** Whether one end gets an answer from the other one, soon. */
export function reaches(from: End, to: End, address: Ip = to.side.inner): boolean {
  try {
    from.side.router.run('ping', '-n', '-c', '1', '-W', '2', formatIp(address));
    return true;
  } catch {
    return false;
  }
}

/** Asks again what was not answered in time. */
function patiently<T>(ask: () => T): T {
  for (let left = ATTEMPTS_MAX; ; left--) {
    try {
      return ask();
    } catch (error) {
      if (left === 0 || !(error instanceof CulvertError && error.code === 'wireguard_slow')) throw error;
    }
  }
}
