import type { Ipv4 } from '../addr/ipv4.ts';
import { formatPrefix, type Prefix, prefixAround, prefixSize } from '../addr/prefix.ts';
import type { Key } from '../plan/wireguard/key.ts';

/** A host's key of one rotation, and the UDP port that it is used at. */
export type HostKey = { readonly rotation: number; readonly publicKey: Key; readonly port: number };

/** A host as the mesh knows it, with the one subnet that is behind it. */
export type MeshPeer = {
  readonly name: string;
  readonly subnet: Prefix;
  /** where its packets are sent to */
  readonly address: Ipv4;
  /** UDP port of what is sent to it in clear */
  readonly clearPort: number;
  /** The address is a neighbour's: what is sent in clear need not be wrapped. */
  readonly isOnLink: boolean;
  /** while keys are changed, of two rotations */
  readonly keys: readonly HostKey[];
};

/** What no two hosts may have. */
type Claims = Pick<MeshPeer, 'name' | 'subnet' | 'keys'>;

export type PeerChange = { readonly name: string; readonly peer: MeshPeer | undefined };

/** What becomes of a peer that was in use, or is to be; `undefined` for not in use. */
export type Turn = { readonly former: MeshPeer | undefined; readonly next: MeshPeer | undefined };

/**
 * All peers that others tell of, and which of them can be used. An address that two claim would go to whoever said so
 * last, and a key that two have would be one of them: then neither is used, whichever came first, and it is said why.
 */
export class Peers {
  readonly #unit: number;
  readonly #own: string;
  readonly #known = new Map<string, MeshPeer>();
  readonly #used = new Map<string, MeshPeer>();
  /** Why a peer is not used, by its name. */
  readonly refused = new Map<string, string>();
  readonly #byKey = new Map<Key, Set<string>>();
  /** by the first address of a unit */
  readonly #byUnit = new Map<number, Set<string>>();

  /**
   * @param unit prefix length that no subnet is longer than
   * @param own what the host has itself, and no peer may
   */
  constructor(unit: number, own: Claims) {
    this.#unit = unit;
    this.#own = own.name;
    this.#claim(own);
  }

  get used(): ReadonlyMap<string, MeshPeer> {
    return this.#used;
  }

  /** Takes in changes, each of which costs the same however many peers there are. */
  take(changes: readonly PeerChange[]): Turn[] {
    const touched = new Set<string>();
    const touch = (peer: MeshPeer | undefined): void => {
      if (peer === undefined) return;
      for (const name of this.#rivals(peer)) touched.add(name);
    };
    for (const { name, peer } of changes) {
      if (name === this.#own) continue;
      const former = this.#known.get(name);
      touch(former);
      if (former !== undefined) this.#leave(former);
      if (peer !== undefined) this.#enter(peer);
      touch(peer);
      touched.add(name);
    }
    return [...touched].flatMap((name) => this.#judge(name) ?? []);
  }

  #judge(name: string): Turn | undefined {
    // the host itself is no peer of its own
    if (name === this.#own) return undefined;
    const former = this.#used.get(name);
    const peer = this.#known.get(name);
    const reason = peer === undefined ? undefined : this.#conflict(peer);
    if (reason === undefined) this.refused.delete(name);
    else this.refused.set(name, reason);
    const next = reason === undefined ? peer : undefined;
    if (next === undefined) this.#used.delete(name);
    else this.#used.set(name, next);
    return former === next ? undefined : { former, next };
  }

  #conflict({ name, keys, subnet }: MeshPeer): string | undefined {
    const sameKey = keys.flatMap(({ publicKey }) => [...(this.#byKey.get(publicKey) ?? [])]);
    const namesakes = [...new Set(sameKey)].filter((other) => other !== name);
    if (namesakes.length > 0) return `it has the public key of ${namesakes.join(', ')}`;
    const overlapping = this.#units(subnet).flatMap((unit) => [...(this.#byUnit.get(unit) ?? [])]);
    const others = [...new Set(overlapping)].filter((other) => other !== name);
    if (others.length > 0) return `its subnet ${formatPrefix(subnet)} overlaps that of ${others.join(', ')}`;
    return undefined;
  }

  #rivals({ keys, subnet }: MeshPeer): string[] {
    const sets = [
      ...keys.map(({ publicKey }) => this.#byKey.get(publicKey)),
      ...this.#units(subnet).map((unit) => this.#byUnit.get(unit)),
    ];
    return sets.flatMap((names) => [...(names ?? [])]);
  }

  #enter(peer: MeshPeer): void {
    this.#known.set(peer.name, peer);
    this.#claim(peer);
  }

  #claim(peer: Claims): void {
    for (const { publicKey } of peer.keys) add(this.#byKey, publicKey, peer.name);
    for (const unit of this.#units(peer.subnet)) add(this.#byUnit, unit, peer.name);
  }

  #leave(peer: MeshPeer): void {
    this.#known.delete(peer.name);
    for (const { publicKey } of peer.keys) remove(this.#byKey, publicKey, peer.name);
    for (const unit of this.#units(peer.subnet)) remove(this.#byUnit, unit, peer.name);
  }

  #units({ address, length }: Prefix): number[] {
    // a subnet that is longer than a unit is not of this cluster, and takes all of its unit
    const first = prefixAround(address, Math.min(length, this.#unit)).address;
    const size = prefixSize({ address, length: this.#unit });
    return Array.from({ length: 2 ** Math.max(0, this.#unit - length) }, (_, index) => first + index * size);
  }
}

function add<T>(sets: Map<T, Set<string>>, key: T, name: string): void {
  const names = sets.get(key);
  if (names === undefined) sets.set(key, new Set([name]));
  else names.add(name);
}

function remove<T>(sets: Map<T, Set<string>>, key: T, name: string): void {
  const names = sets.get(key);
  names?.delete(name);
  if (names?.size === 0) sets.delete(key);
}
