import type { Ipv4 } from '../../addr/ipv4.ts';
import type { HostChange } from '../../cluster/hosts.ts';
import type { MeshPeer, PeerChange } from '../../mesh/peers.ts';
import { readPeer, reasonOf } from '../../mesh/published.ts';
import { alike } from '../../plan/same.ts';
import { assertSubnet, type Place } from './seat.ts';

/** The hosts that can be peers by what they tell, and why others cannot. */
export class KnownPeers {
  readonly #place: Place;
  readonly #isOnLink: (address: Ipv4) => boolean;
  readonly #peers = new Map<string, MeshPeer>();
  /** Why a host is no peer, by its name. */
  readonly unusable = new Map<string, string>();

  /**
   * Begins with those that the place remembers.
   *
   * @param isOnLink whether an address is a neighbour's
   */
  constructor(place: Place, isOnLink: (address: Ipv4) => boolean) {
    this.#place = place;
    this.#isOnLink = isOnLink;
    for (const peer of place.peers) this.#peers.set(peer.name, { ...peer, isOnLink: isOnLink(peer.address) });
  }

  get all(): ReadonlyMap<string, MeshPeer> {
    return this.#peers;
  }

  /**
   * Takes in what became of a host; undefined where nothing that the mesh knows of it has changed.
   *
   * @param isUnreadable whether it has a record that cannot be read: then it stands as it did
   */
  take({ name, host }: HostChange, isUnreadable: boolean): PeerChange | undefined {
    const former = this.#peers.get(name);
    this.unusable.delete(name);
    if (host === undefined) {
      if (former === undefined || isUnreadable) return undefined;
      this.#peers.delete(name);
      return { name, peer: undefined };
    }
    try {
      const { subnet, published } = host.record;
      assertSubnet(this.#place, subnet);
      const peer = readPeer(name, subnet, published, this.#isOnLink);
      if (alike(peer, former)) return undefined;
      this.#peers.set(name, peer);
      return { name, peer };
    } catch (error) {
      this.unusable.set(name, reasonOf(error));
      return undefined;
    }
  }
}
