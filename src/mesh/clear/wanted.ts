import { isIpv6 } from '../../addr/ip.ts';
import type { Mac } from '../../addr/mac.ts';
import type { SetElements } from '../../plan/ruleset.ts';
import type { KernelObject, Link } from '../../plan/state.ts';
import { directPeer, wrappedPeer } from './objects.ts';
import type { ClearOptions } from './options.ts';
import type { ClearPeer } from './peer.ts';
import { peerElements } from './ruleset.ts';

/**
 * What follows from peers. With five thousand of them a plan costs more than a look, and to describe them costs more than
 * either: it is done once.
 */
export class Wanted {
  readonly #peers: ReadonlyMap<string, ClearPeer>;
  readonly #uplink: Link | undefined;
  readonly objects: readonly KernelObject[];
  readonly elements: readonly SetElements[];
  readonly #byKey: ReadonlyMap<number, KernelObject>;

  /** @param uplink where it is up */
  constructor(options: ClearOptions, peers: ReadonlyMap<string, ClearPeer>, uplink: Link | undefined) {
    this.#peers = new Map(peers);
    this.#uplink = uplink;
    const all = [...peers.values()];
    this.objects = objectsOf(options, all, uplink);
    this.elements = all.flatMap((peer) => peerElements(options, peer));
    this.#byKey = new Map(this.objects.map((object) => [keyOf(object), object]));
  }

  /** It follows from these too. */
  isOf(peers: ReadonlyMap<string, ClearPeer>, uplink: Link | undefined): boolean {
    if (uplink?.index !== this.#uplink?.index || uplink?.name !== this.#uplink?.name) return false;
    if (peers.size !== this.#peers.size) return false;
    for (const [name, peer] of peers) if (this.#peers.get(name) !== peer) return false;
    return true;
  }

  /** These are the objects, all of them and no others. */
  isWhole(seen: readonly KernelObject[]): boolean {
    return (
      seen.length === this.objects.length &&
      seen.every((object) => {
        const wanted = this.#byKey.get(keyOf(object));
        return wanted !== undefined && areAlike(wanted, object);
      })
    );
  }
}

export function objectsOf(
  options: ClearOptions,
  peers: readonly ClearPeer[],
  uplink: Link | undefined,
): KernelObject[] {
  return peers.flatMap((peer) => [
    ...wrappedPeer(options, peer),
    // where the uplink is away the kernel has no routes by it, and takes none
    ...(peer.onLink && uplink !== undefined ? directPeer(options, peer, uplink) : []),
  ]);
}

/** One for each of what a peer has; quicker than the key that any object has. */
function keyOf(object: KernelObject): number {
  const each = 2 ** 32;
  switch (object.kind) {
    case 'fdb':
      return new DataView(object.mac.buffer, object.mac.byteOffset).getUint32(2);
    case 'route':
      return isIpv6(object.destination.address) ? -1 : each + object.destination.address;
    case 'neighbour':
      return each * (object.link.index + 1) + object.address;
    default:
      return -1;
  }
}

function areAlike(a: KernelObject, b: KernelObject): boolean {
  if (a.kind === 'fdb' && b.kind === 'fdb') {
    return a.remote?.address === b.remote?.address && a.remote?.port === b.remote?.port && isSameMac(a.mac, b.mac);
  }
  if (a.kind === 'neighbour' && b.kind === 'neighbour') return isSameMac(a.mac, b.mac);
  if (a.kind !== 'route' || b.kind !== 'route') return false;
  return (
    a.destination.length === b.destination.length &&
    a.link.index === b.link.index &&
    a.via === b.via &&
    a.source === b.source &&
    a.onlink === b.onlink &&
    a.mtu === b.mtu
  );
}

function isSameMac(a: Mac, b: Mac): boolean {
  return a.every((octet, index) => octet === b[index]);
}
