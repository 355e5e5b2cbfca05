import type { Kernel } from '../../linux/apply.ts';
import { NETLINK_NETFILTER } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { hasLink, linkIndex } from '../../linux/route/ifreq.ts';
import { diff, type Operation, type Plan } from '../../plan/diff.ts';
import { alike } from '../../plan/same.ts';
import { type KernelObject, type Link, ROOT, ROUTER } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { acceptAnySource } from '../any-source.ts';
import { clearLink, directCable, directLink } from '../link.ts';
import type { Terms } from '../tunnel.ts';
import { ClearGate } from './gate.ts';
import { clearRoute } from './objects.ts';
import { basePlan, leftOver, seenPeers, uplinkOf } from './observe.ts';
import type { ClearOptions } from './options.ts';
import type { ClearChange, ClearPeer } from './peer.ts';
import { clearRuleset, clearTable, peerElements } from './ruleset.ts';
import { objectsOf, Wanted } from './wanted.ts';

export type ClearParts = ClearOptions & {
  /** in whose root namespace it is made */
  readonly kernel: Kernel;
};

/**
 * The way to other hosts in clear. It stands beside the encrypted one: which of the two is taken to a peer's sandboxes is
 * decided by the router's route to their subnet ({@link ClearWay.routeTo}), and what comes is taken in by either.
 *
 *     root namespace                                   router namespace
 *     UDP :51830  ◄── wrapped ───────────────────────── wc-main ◄── to any peer
 *     eth0  ◄── table of its own ── wd-main ◄────────── wd-main ◄── to a peer on the same link, as it is
 *
 * By either link a peer's mesh address is reached whatever the routes are, for a socket that is bound to the link.
 *
 * All of it is the kernel's, so it outlives this process, and is found again.
 */
export class ClearWay implements Disposable {
  #options: ClearOptions;
  readonly #kernel: Kernel;
  readonly #netfilter: NetlinkSocket;
  readonly #gate: ClearGate;
  /** Those that are accepted, by name. */
  #peers = new Map<string, ClearPeer>();
  /** of those that {@link bringTo} was last asked for */
  #wanted: Wanted | undefined;
  /** Whether what the kernel has follows from them. */
  #isBrought = false;

  constructor({ kernel, ...options }: ClearParts) {
    this.#kernel = kernel;
    this.#options = options;
    this.#netfilter = kernel.inside(ROOT, () => new NetlinkSocket(NETLINK_NETFILTER));
    this.#gate = new ClearGate(this.#netfilter, clearRuleset(options));
  }

  /** Its links are to be of another size, which the next {@link bringTo} does. @param mtu bytes */
  resize(mtu: number): void {
    this.#options = { ...this.#options, mtu };
    this.#wanted = undefined;
  }

  /** By which a peer can be reached, the one that its sandboxes' packets take first. */
  linksTo({ onLink }: ClearPeer): [Link, ...Link[]] {
    const { instance, uplink } = this.#options;
    const wrapped = clearLink(instance);
    return onLink && uplink !== undefined ? [directLink(instance), wrapped] : [wrapped];
  }

  /**
   * The route by which the router sends to a peer's sandboxes in clear.
   *
   * @param how `mtu` in bytes, of the path to it, where that is less than the links take; `wraps` whether it is wrapped
   *   although the peer is on the link
   */
  routeTo(
    peer: ClearPeer,
    { mtu, wraps = false }: { readonly mtu?: number | undefined; readonly wraps?: boolean | undefined } = {},
  ): KernelObject & { readonly kind: 'route' } {
    return clearRoute(wraps ? clearLink(this.#options.instance) : this.linksTo(peer)[0], peer, mtu);
  }

  /** Whether a peer is accepted by what an earlier run has left. */
  accepts(peer: ClearPeer): boolean {
    return this.#gate.has(peerElements(this.#options, peer));
  }

  /** Whether there is one, of whatever run. */
  get isThere(): boolean {
    const { instance } = this.#options;
    return this.#kernel.withSocket(ROUTER, (socket) => hasLink(socket, clearLink(instance).index));
  }

  /** Whether somebody has changed rules of the root namespace since they were looked at: cheap to ask. */
  haveRulesChanged(): boolean {
    return this.#gate.haveChanged();
  }

  /**
   * Brings the kernel to these peers. Where it has them, nothing is written.
   *
   * @param peers that are accepted, by name; their subnets do not overlap
   * @returns what was put right, in the words of ip(8), bridge(8) and nft(8)
   * @throws ApplyError, SyscallError; what is to be done then is done by the next call
   */
  bringTo(peers: ReadonlyMap<string, ClearPeer>, terms: Terms): string[] {
    const { dryRun = false, removes } = terms;
    const wanted = this.#wantedOf(peers);
    if (!dryRun) {
      this.#peers = new Map(peers);
      this.#isBrought = false;
    }
    // first, as it stands between the others and the router
    const rules = this.#gate.bringTo(wanted.elements, terms);
    const base = basePlan(this.#kernel, this.#options);
    if (!dryRun) this.#kernel.apply(base);
    const settings = acceptAnySource(this.#kernel, this.#links(), { dryRun });
    const plan = this.#peersPlan(wanted).filter(({ verb }) => removes || verb !== 'delete');
    if (!dryRun) {
      this.#kernel.apply(plan);
      this.#isBrought = true;
    }
    return [...rules, ...lines(base), ...settings, ...lines(plan)];
  }

  /**
   * Takes in what has changed of some peers: a few edits for each. Before the first {@link bringTo}, and after one that
   * failed, the next has it to do.
   *
   * @returns what was done
   */
  update(changes: readonly ClearChange[]): string[] {
    const former: ClearPeer[] = [];
    const next: ClearPeer[] = [];
    for (const { name, peer } of changes) {
      const before = this.#peers.get(name);
      if (alike(before, peer)) continue;
      if (before !== undefined) former.push(before);
      if (peer !== undefined) next.push(peer);
      if (peer === undefined) this.#peers.delete(name);
      else this.#peers.set(name, peer);
    }
    if (!this.#isBrought || former.length + next.length === 0) return [];
    // until it is done
    this.#isBrought = false;
    const elements = (peer: ClearPeer): ReturnType<typeof peerElements> => peerElements(this.#options, peer);
    const rules = this.#gate.exchange(former.flatMap(elements), next.flatMap(elements));
    // an earlier run may have made it
    const plan = diff(this.#objectsOf(former), this.#objectsOf(next)).map(
      (one): Operation => (one.verb === 'create' ? { ...one, verb: 'change', from: one.object } : one),
    );
    // what is gone already, with the uplink or by others, need not go
    this.#kernel.remove(plan.filter(({ verb }) => verb === 'delete'));
    this.#kernel.apply(plan.filter(({ verb }) => verb !== 'delete'));
    this.#isBrought = true;
    return [...rules, ...lines(plan)];
  }

  /** Takes away what there is of one, by whichever run; nothing of it need be there. */
  static remove({ kernel, instance }: { readonly kernel: Kernel; readonly instance: string }): void {
    // what sends goes first, and what keeps others out last
    if (kernel.exists(ROUTER)) kernel.deleteLinks(ROUTER, [clearLink(instance), directLink(instance)]);
    kernel.withSocket(ROOT, (socket) => {
      const index = linkIndex(socket, directCable(instance).name);
      if (index !== undefined) kernel.deleteLinks(ROOT, [{ ...directCable(instance), index }]);
    });
    kernel.remove(diff(leftOver(kernel, instance), []));
    using netfilter = kernel.inside(ROOT, () => new NetlinkSocket(NETLINK_NETFILTER));
    ClearGate.remove(netfilter, clearTable(instance));
  }

  /** Lets go of it; it stays. */
  [Symbol.dispose](): void {
    this.#netfilter[Symbol.dispose]();
  }

  #peersPlan(wanted: Wanted): Plan {
    const seen = seenPeers(this.#kernel, this.#options);
    return wanted.isWhole(seen) ? [] : diff(seen, wanted.objects);
  }

  #wantedOf(peers: ReadonlyMap<string, ClearPeer>): Wanted {
    const uplink = uplinkOf(this.#kernel, this.#options);
    if (this.#wanted?.isOf(peers, uplink) !== true) this.#wanted = new Wanted(this.#options, peers, uplink);
    return this.#wanted;
  }

  #objectsOf(peers: readonly ClearPeer[]): KernelObject[] {
    return objectsOf(this.#options, peers, uplinkOf(this.#kernel, this.#options));
  }

  #links(): Link[] {
    const { instance } = this.#options;
    return [clearLink(instance), directLink(instance)];
  }
}

function lines(plan: Plan): string[] {
  return plan.length === 0 ? [] : planText(plan).split('\n');
}
