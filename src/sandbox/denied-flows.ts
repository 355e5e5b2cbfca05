import type { Ipv4 } from '../addr/ipv4.ts';
import { type Prefix, prefixHas } from '../addr/prefix.ts';
import type { Flow } from '../linux/conntrack/flow.ts';
import type { GroupName } from './group.ts';
import { allowedHostAddresses } from './host/access.ts';
import type { Pass } from './pass.ts';
import { compilePolicy } from './policy/compile.ts';
import { type Interval, verdictOf } from './policy/intervals.ts';
import { policyId } from './policy/policy.ts';
import { hostAddress, type Layout, resolverAddress, sandboxRanges } from './topology/layout.ts';
import { addressOf } from './topology/network.ts';

export type IsDenied = (flow: Flow) => boolean;

/** What a policy says of every address, and which of the host's own it opens. */
type Judge = { readonly intervals: readonly Interval[]; readonly host: ReadonlySet<Ipv4> };

/** Who is whose neighbour. */
export type Neighbours = {
  readonly groupOf: (address: Ipv4) => GroupName | undefined;
  /** of all hosts */
  readonly cluster?: Prefix;
};

/**
 * Tells the flows that sandboxes have opened, or others to them, and may not have under the policies and in the groups
 * that they have now: rules let pass what is established, so what became narrower takes hold of those only when they are
 * forgotten.
 *
 * @returns a judge for each of the namespaces that track them
 */
export function deniedFlows(
  passes: readonly Pass[],
  layout: Layout,
  { groupOf, cluster }: Neighbours,
): { readonly router: IsDenied; readonly root: IsDenied } {
  const ranges = sandboxRanges(layout);
  const judges = new Map<Ipv4, Judge>();
  const known = new Map<string, Judge>();
  for (const { network, policy } of passes) {
    const id = policyId(policy);
    const judge = known.get(id) ?? {
      intervals: compilePolicy(policy, ranges),
      host: new Set(allowedHostAddresses(policy)),
    };
    known.set(id, judge);
    judges.set(addressOf(network, layout), judge);
  }
  const resolver = resolverAddress(layout);
  const isNear = (address: Ipv4): boolean => ranges.some((range) => prefixHas(range, address));
  const isFar = (address: Ipv4): boolean => cluster !== undefined && prefixHas(cluster, address) && !isNear(address);
  const router: IsDenied = ({ original: { source, destination } }) => {
    // to ask for names no policy denies
    if (destination === resolver) return false;
    const judge = judges.get(source);
    // what the host opens, or others by it, none of these judges
    const isSandbox = isFar(source) || (isNear(source) && source !== hostAddress(layout, 0));
    if (judge === undefined && !(isSandbox && judges.has(destination))) return false;
    const group = groupOf(destination);
    if (group !== undefined) return groupOf(source) !== group;
    return judge === undefined ? isFar(source) : verdictOf(judge.intervals, destination) === 'drop';
  };
  const root: IsDenied = (flow) => {
    const { original, reply } = flow;
    // what leaves the host is masqueraded, so answers that go to the sandbox's own address are the host's own
    const isToHost = reply.destination === original.source;
    return router(flow) || (isToHost && judges.get(original.source)?.host.has(original.destination) === false);
  };
  return { router, root };
}
