import type { Ipv4 } from '../addr/ipv4.ts';
import type { Prefix } from '../addr/prefix.ts';
import type { Kernel } from '../linux/apply.ts';
import { diff, type Operation } from '../plan/diff.ts';
import { type KernelObject, type Link, ROUTER } from '../plan/state.ts';
import { planText } from '../plan/text.ts';
import type { Device, Peer } from '../plan/wireguard/device.ts';
import { type Edit, editText, peerEdit } from '../plan/wireguard/edit.ts';
import type { Key } from '../plan/wireguard/key.ts';
import { type MeshPeer, type PeerChange, Peers, type Turn } from './peers.ts';
import type { Tunnel } from './tunnel.ts';

export type MeshParts = {
  readonly kernel: Kernel;
  readonly tunnel: Tunnel;
  readonly link: Link;
  readonly privateKey: Key;
  readonly listenPort: number;
  readonly peers: Peers;
};

/** 0.0.0.0/32: no route leads there. */
const NOWHERE: Prefix = { address: 0 as Ipv4, length: 32 };

/**
 * The encrypted network of all hosts, as one of them has it: a peer and a route for each other host's subnet. One change
 * of one host is one edit of its peer, and one of its route where the subnet is another.
 */
export class Mesh {
  readonly #parts: MeshParts;

  constructor(parts: MeshParts) {
    this.#parts = parts;
  }

  /** Takes in what other hosts tell, and says what was done, in the words of wg(8) and ip(8). */
  update(changes: readonly PeerChange[]): string[] {
    const { kernel, tunnel, link, peers } = this.#parts;
    const turns = peers.take(changes);
    const said = turns.flatMap(peerEdits);
    const routes = turns.flatMap((turn) => this.#routeOperations(turn));
    // what goes makes room for what comes
    const ordered = [...said.filter(({ verb }) => verb === 'remove'), ...said.filter(({ verb }) => verb !== 'remove')];
    tunnel.edit(ordered);
    kernel.apply([
      ...routes.filter(({ verb }) => verb === 'delete'),
      ...routes.filter(({ verb }) => verb !== 'delete'),
    ]);
    return [...ordered.map((edit) => editText(link.name, edit)), ...routes.flatMap((one) => planText([one]))];
  }

  /**
   * Puts right what others have changed, and what was not done when it should have been. Where nothing was, nothing is
   * written.
   *
   * @param nowMs since the epoch
   * @param removes whether peers and routes that are not known go
   * @returns what was put right
   */
  reconcile(nowMs: number, { removes }: { readonly removes: boolean }): string[] {
    const { kernel, tunnel } = this.#parts;
    const device = tunnel.bringTo(this.#device(), nowMs, { removes });
    const plan = this.#routePlan().filter(({ verb }) => removes || verb !== 'delete');
    kernel.apply(plan);
    return [...device, ...(plan.length === 0 ? [] : planText(plan).split('\n'))];
  }

  #device(): Device {
    const { privateKey, listenPort, peers } = this.#parts;
    const all = [...peers.used.values()].map((peer): [Key, Peer] => [peer.publicKey, asPeer(peer)]);
    return { privateKey, listenPort, peers: new Map(all) };
  }

  #routePlan(): Operation[] {
    const { kernel, peers } = this.#parts;
    const wanted = [...peers.used.values()].map((peer) => this.#route(peer));
    // where there are none to be, those that are there are still looked for
    const looked =
      wanted.length > 0
        ? wanted
        : [{ kind: 'route', namespace: ROUTER, destination: NOWHERE, link: this.#parts.link } as const];
    const seen = kernel.find(ROUTER, looked).objects.filter(({ kind }) => kind === 'route');
    return [...diff(seen, wanted)];
  }

  #routeOperations({ former, next }: Turn): Operation[] {
    const before = former === undefined ? [] : [this.#route(former)];
    const after = next === undefined ? [] : [this.#route(next)];
    // an earlier run may have made it
    return diff(before, after).map((one) =>
      one.verb === 'create' ? { ...one, verb: 'change', from: one.object } : one,
    );
  }

  #route({ subnet }: MeshPeer): KernelObject {
    return { kind: 'route', namespace: ROUTER, destination: subnet, link: this.#parts.link };
  }
}

function peerEdits({ former, next }: Turn): Edit[] {
  if (former !== undefined && former.publicKey !== next?.publicKey) {
    const gone: Edit = { verb: 'remove', publicKey: former.publicKey };
    return [gone, ...peerEdits({ former: undefined, next })];
  }
  if (next === undefined) return [];
  const edit = peerEdit(former === undefined ? undefined : asPeer(former), asPeer(next));
  return edit === undefined ? [] : [edit];
}

function asPeer({ publicKey, presharedKey, endpoint, keepalive_s, subnet }: MeshPeer): Peer {
  return {
    publicKey,
    ...(presharedKey === undefined ? {} : { presharedKey }),
    ...(endpoint === undefined ? {} : { endpoint }),
    keepalive_s,
    allowedIps: [subnet],
  };
}
