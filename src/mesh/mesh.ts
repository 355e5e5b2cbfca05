import type { Ipv4 } from '../addr/ipv4.ts';
import type { Prefix } from '../addr/prefix.ts';
import type { Kernel } from '../linux/apply.ts';
import { diff, type Operation, type Plan } from '../plan/diff.ts';
import { sameObject } from '../plan/same.ts';
import { type KernelObject, type Link, ROUTER } from '../plan/state.ts';
import { planText } from '../plan/text.ts';
import type { Device, Peer } from '../plan/wireguard/device.ts';
import { type Edit, editText, peerEdit } from '../plan/wireguard/edit.ts';
import type { Key } from '../plan/wireguard/key.ts';
import { type MeshPeer, type PeerChange, Peers, type Turn } from './peers.ts';
import type { Terms, Tunnel } from './tunnel.ts';

export type MeshParts = {
  readonly kernel: Kernel;
  readonly tunnel: Tunnel;
  readonly link: Link;
  readonly privateKey: Key;
  readonly listenPort: number;
  readonly peers: Peers;
};

type Route = Extract<KernelObject, { kind: 'route' }>;

/** 0.0.0.0/32: no route leads there. */
const NOWHERE: Prefix = { address: 0 as Ipv4, length: 32 };

/**
 * The encrypted network of all hosts, as one of them has it: a peer and a route for each other host's subnet. One change
 * of one host is one edit of its peer, and one of its route where the subnet is another.
 */
export class Mesh {
  readonly #parts: MeshParts;
  /** What follows from the peers that are used. */
  readonly #wanted = { peers: new Map<Key, Peer>(), routes: new Map<Ipv4, Route>() };

  constructor(parts: MeshParts) {
    this.#parts = parts;
    for (const next of parts.peers.used.values()) this.#want({ former: undefined, next });
  }

  /** Takes in what other hosts tell, and says what was done, in the words of wg(8) and ip(8). */
  update(changes: readonly PeerChange[]): string[] {
    const { kernel, tunnel, link, peers } = this.#parts;
    const turns = peers.take(changes);
    // what one had another may have now
    for (const { former } of turns) this.#want({ former, next: undefined });
    for (const { next } of turns) this.#want({ former: undefined, next });
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
   * @returns what was put right
   */
  reconcile(nowMs: number, terms: Terms): string[] {
    const { kernel, tunnel } = this.#parts;
    const device = tunnel.bringTo(this.#device(), nowMs, terms);
    const plan = this.#routePlan().filter(({ verb }) => terms.removes || verb !== 'delete');
    if (terms.dryRun !== true) kernel.apply(plan);
    return [...device, ...(plan.length === 0 ? [] : planText(plan).split('\n'))];
  }

  #device(): Device {
    const { privateKey, listenPort } = this.#parts;
    return { privateKey, listenPort, peers: this.#wanted.peers };
  }

  #routePlan(): Plan {
    const { routes } = this.#wanted;
    // where there are none to be, those that are there are still looked for
    const [any = { kind: 'route', namespace: ROUTER, destination: NOWHERE, link: this.#parts.link } as const] =
      routes.values();
    const seen = this.#parts.kernel.find(ROUTER, [any]).objects.filter((object) => object.kind === 'route');
    const isWhole =
      seen.length === routes.size &&
      seen.every((route) => {
        const wanted = routes.get(route.destination.address);
        return wanted !== undefined && sameObject(route, wanted);
      });
    // mostly it is, and with five thousand hosts a plan costs more than a look
    return isWhole ? [] : diff(seen, [...routes.values()]);
  }

  #routeOperations({ former, next }: Turn): Operation[] {
    const before = former === undefined ? [] : [this.#route(former)];
    const after = next === undefined ? [] : [this.#route(next)];
    // an earlier run may have made it
    return diff(before, after).map((one) =>
      one.verb === 'create' ? { ...one, verb: 'change', from: one.object } : one,
    );
  }

  #want({ former, next }: Turn): void {
    const { peers, routes } = this.#wanted;
    if (former !== undefined) {
      peers.delete(former.publicKey);
      routes.delete(former.subnet.address);
    }
    if (next !== undefined) {
      peers.set(next.publicKey, asPeer(next));
      routes.set(next.subnet.address, this.#route(next));
    }
  }

  #route({ subnet }: MeshPeer): Route {
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
