import type { Ipv4 } from '../addr/ipv4.ts';
import { CulvertError } from '../errors.ts';
import { flushAddresses } from '../linux/conntrack/flush.ts';
import type { NetlinkSocket } from '../linux/netlink/socket.ts';
import { deniedFlows } from './denied-flows.ts';
import type { Pass } from './gate.ts';
import { addressOf } from './topology/desired.ts';
import type { Layout } from './topology/layout.ts';

export type TrackingParts = {
  /** of NETLINK_NETFILTER, in the two namespaces that track */
  readonly router: NetlinkSocket;
  readonly root: NetlinkSocket;
  readonly layout: Layout;
};

/** What connection tracking knows of sandboxes. */
export class Tracking {
  readonly #parts: TrackingParts;

  constructor(parts: TrackingParts) {
    this.#parts = parts;
  }

  /** Deletes what is known of the addresses, and says whether nothing of it is left. */
  flush(addresses: ReadonlySet<Ipv4>): boolean {
    const { router, root } = this.#parts;
    return [router, root].every((socket) => flushAddresses(socket, addresses).left === 0);
  }

  /**
   * Ends the flows that the sandboxes have opened and may not have any more.
   *
   * @throws CulvertError `flows_left`
   */
  cutDenied(passes: readonly Pass[]): void {
    const { router, root, layout } = this.#parts;
    const addresses = new Set(passes.map(({ network }) => addressOf(network, layout)));
    const denied = deniedFlows(passes, layout);
    // The root first: what it has forgotten it no longer sends on, so nothing from outside makes the flow anew.
    const { left } = flushAddresses(root, addresses, denied.root);
    const rest = flushAddresses(router, addresses, denied.router);
    if (left + rest.left === 0) return;
    throw new CulvertError('flows_left', `Cannot end ${left + rest.left} flows that the policy denies now`);
  }
}
