import type { Ipv4 } from '../addr/ipv4.ts';
import type { Prefix } from '../addr/prefix.ts';
import { CulvertError } from '../errors.ts';
import type { Kernel } from '../linux/apply.ts';
import { dumpFlowsOf } from '../linux/conntrack/dump.ts';
import type { Flow, Tuple } from '../linux/conntrack/flow.ts';
import { flushAddresses } from '../linux/conntrack/flush.ts';
import type { NetlinkSocket } from '../linux/netlink/socket.ts';
import { readSysctl } from '../linux/sysctl.ts';
import { type NamespaceName, ROOT, ROUTER } from '../plan/state.ts';
import { deniedFlows } from './denied-flows.ts';
import type { Problem } from './event.ts';
import type { Gate } from './gate.ts';
import type { Pass } from './pass.ts';
import type { Layout } from './topology/layout.ts';
import { addressOf } from './topology/network.ts';

export type TrackingParts = {
  /** of NETLINK_NETFILTER, in the two namespaces that track */
  readonly router: NetlinkSocket;
  readonly root: NetlinkSocket;
  readonly kernel: Pick<Kernel, 'inside' | 'exists'>;
  readonly layout: Layout;
  readonly gate: Pick<Gate, 'hold' | 'resume' | 'groups'>;
  /** of all hosts' sandboxes */
  readonly cluster?: Prefix;
};

/** Entries of connection tracking in the two namespaces, and how many each may have. */
export type FlowUsage = { readonly root: number; readonly router: number; readonly most: number };

const USAGE_MS = 1000;
/** From here on a person is told. */
const FULL_SHARE = 0.9;

/** The addresses of which something was known, and those of which something is left: somebody still sends. */
export type Flushed = { readonly found: ReadonlySet<Ipv4>; readonly left: ReadonlySet<Ipv4> };

/** What connection tracking knows of sandboxes. */
export class Tracking {
  readonly #parts: TrackingParts;
  #usage: { readonly atMs: number; readonly flows: FlowUsage } | undefined;
  /** Slots that are held back. */
  #held: readonly number[] = [];

  constructor(parts: TrackingParts) {
    this.#parts = parts;
  }

  /** How full the tables are; what was read less than {@link USAGE_MS} ago is said again. */
  usage(nowMs: number): FlowUsage {
    if (this.#usage === undefined || nowMs - this.#usage.atMs >= USAGE_MS) {
      const { kernel } = this.#parts;
      const read = (namespace: NamespaceName, name: string): number =>
        kernel.inside(namespace, () => Number(readSysctl(`net/netfilter/nf_conntrack_${name}`)));
      // a host that was purged has no router
      const router = kernel.exists(ROUTER) ? read(ROUTER, 'count') : 0;
      const flows = { root: read(ROOT, 'count'), router, most: read(ROOT, 'max') };
      this.#usage = { atMs: nowMs, flows };
    }
    return this.#usage.flows;
  }

  problems(nowMs: number): Problem[] {
    const { most, ...counts } = this.usage(nowMs);
    return Object.entries(counts)
      .filter(([, count]) => count >= most * FULL_SHARE)
      .map(([namespace, count]) => {
        const remedy = 'when it is full no connection can be opened; see conntrack -L there for whose they are';
        const message = `Connection tracking of the ${namespace} namespace has ${count} of ${most} entries: ${remedy}`;
        return { code: 'flows_full', message };
      });
  }

  /** Deletes what is known of the addresses. */
  flush(addresses: ReadonlySet<Ipv4>): Flushed {
    const { router, root } = this.#parts;
    const flushed = [router, root].map((socket) => flushAddresses(socket, addresses));
    const known = (flows: readonly Flow[]): ReadonlySet<Ipv4> =>
      new Set(flows.flatMap(addressesIn).filter((address) => addresses.has(address)));
    return {
      found: known(flushed.flatMap(({ found }) => found)),
      left: known(flushed.flatMap(({ left }) => left)),
    };
  }

  /** Ends what sandboxes of other hosts have to do with any here. */
  forgetFar(addresses: ReadonlySet<Ipv4>): void {
    flushAddresses(this.#parts.router, addresses);
  }

  /**
   * Ends the flows that the sandboxes have opened and may not have any more; their policies hold already.
   *
   * A flow that is busy both ways would come back: what one namespace has forgotten the other still lets through, and
   * the next packet makes it anew, be it from the far end. So what these sandboxes send is held back meanwhile, for
   * some milliseconds, and only that of those with such flows.
   *
   * @throws CulvertError `flows_left`
   */
  cutDenied(passes: readonly Pass[]): void {
    const { router, root, layout, gate, cluster } = this.#parts;
    // of an attempt that failed
    this.#resume();
    const neighbours = { groupOf: gate.groups(), ...(cluster === undefined ? {} : { cluster }) };
    const denied = deniedFlows(passes, layout, neighbours);
    const addresses = new Set(passes.map(({ network }) => addressOf(network, layout)));
    const found = [
      ...dumpFlowsOf(root, addresses).filter(denied.root),
      ...dumpFlowsOf(router, addresses).filter(denied.router),
    ];
    if (found.length === 0) return;
    const owners = new Set(found.map(({ original }) => original.source));
    const slots = passes
      .filter(({ network }) => owners.has(addressOf(network, layout)))
      .map(({ network }) => network.slot);
    this.#held = slots;
    try {
      gate.hold(slots);
      const cut = dumpFlowsOf(router, addresses).filter(denied.router);
      const returns = new Set(cut.map(({ protocol, reply }) => directionText(protocol, reply)));
      const isReturn = ({ protocol, original }: Flow): boolean => returns.has(directionText(protocol, original));
      const inRoot = flushAddresses(root, addresses, denied.root);
      // What the far end had sent before the root forgot is on its way, and would make a flow of its own.
      const inRouter = flushAddresses(router, addresses, (flow) => denied.router(flow) || isReturn(flow));
      const left = inRoot.left.length + inRouter.left.length;
      if (left > 0) throw new CulvertError('flows_left', `Cannot end ${left} flows that the policy denies now`);
    } finally {
      this.#resume();
    }
  }

  #resume(): void {
    if (this.#held.length === 0) return;
    this.#parts.gate.resume(this.#held);
    this.#held = [];
  }
}

function addressesIn({ original, reply }: Flow): Ipv4[] {
  return [original.source, original.destination, reply.source, reply.destination];
}

/** What tells the packets of one direction from all others. */
function directionText(protocol: number, { source, sourcePort, destination, destinationPort }: Tuple): string {
  return `${protocol} ${source} ${sourcePort} ${destination} ${destinationPort}`;
}
