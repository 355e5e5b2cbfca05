import type { Link } from '../plan/state.ts';
import type { Device, Peer } from '../plan/wireguard/device.ts';
import { type Edit, editText, peerEdit } from '../plan/wireguard/edit.ts';
import type { Key } from '../plan/wireguard/key.ts';
import type { MeshPeer, Turn } from './peers.ts';
import type { Terms, Tunnel } from './tunnel.ts';

export type DevicePeersParts = {
  readonly tunnel: Tunnel;
  readonly link: Link;
  /** of the keys */
  readonly rotation: number;
  readonly privateKey: Key;
  readonly listenPort: number;
  /** of all hosts together, where there is one */
  readonly presharedKey?: Key;
};

/**
 * The peers of one WireGuard device: every other host that has told its key of that rotation, with the one subnet that is
 * behind it. One change of one host is one edit of its peer.
 */
export class DevicePeers {
  readonly #parts: DevicePeersParts;
  readonly #wanted = new Map<Key, Peer>();

  /** @param peers that are there already */
  constructor(parts: DevicePeersParts, peers: Iterable<MeshPeer>) {
    this.#parts = parts;
    for (const next of peers) this.#want({ former: undefined, next });
  }

  get tunnel(): Tunnel {
    return this.#parts.tunnel;
  }

  get rotation(): number {
    return this.#parts.rotation;
  }

  /** Takes in what becomes of hosts. @returns what was done, in the words of wg(8) */
  update(turns: readonly Turn[]): string[] {
    const { tunnel, link } = this.#parts;
    // what one had another may have now
    for (const { former } of turns) this.#want({ former, next: undefined });
    for (const { next } of turns) this.#want({ former: undefined, next });
    // what starts is told everything when it is there
    if (tunnel.isStarting) return [];
    const said = turns.flatMap((turn) => this.#edits(turn));
    // what goes makes room for what comes
    const ordered = [...said.filter(({ verb }) => verb === 'remove'), ...said.filter(({ verb }) => verb !== 'remove')];
    tunnel.edit(ordered);
    return ordered.map((edit) => editText(link.name, edit));
  }

  /** See {@link Tunnel.bringTo}. */
  reconcile(nowMs: number, terms: Terms): string[] {
    return this.#parts.tunnel.bringTo(this.#device(), nowMs, terms);
  }

  #device(): Device {
    const { privateKey, listenPort } = this.#parts;
    return { privateKey, listenPort, peers: this.#wanted };
  }

  #want({ former, next }: Turn): void {
    const gone = this.#peerOf(former);
    const come = this.#peerOf(next);
    if (gone !== undefined) this.#wanted.delete(gone.publicKey);
    if (come !== undefined) this.#wanted.set(come.publicKey, come);
  }

  #edits({ former, next }: Turn): Edit[] {
    const before = this.#peerOf(former);
    const after = this.#peerOf(next);
    if (before !== undefined && before.publicKey !== after?.publicKey) {
      const gone: Edit = { verb: 'remove', publicKey: before.publicKey };
      return [gone, ...this.#edits({ former: undefined, next })];
    }
    if (after === undefined) return [];
    const edit = peerEdit(before, after);
    return edit === undefined ? [] : [edit];
  }

  /** undefined where the host has no key of this rotation */
  #peerOf(peer: MeshPeer | undefined): Peer | undefined {
    const { rotation, presharedKey } = this.#parts;
    const key = peer?.keys.find((one) => one.rotation === rotation);
    if (peer === undefined || key === undefined) return undefined;
    return {
      publicKey: key.publicKey,
      ...(presharedKey === undefined ? {} : { presharedKey }),
      endpoint: { address: peer.address, port: key.port },
      keepalive_s: 0,
      allowedIps: [peer.subnet],
    };
  }
}
