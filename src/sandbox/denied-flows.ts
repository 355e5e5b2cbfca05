import type { Ipv4 } from '../addr/ipv4.ts';
import type { Flow } from '../linux/conntrack/flow.ts';
import { allowedHostAddresses } from './host/access.ts';
import type { Pass } from './pass.ts';
import { compilePolicy } from './policy/compile.ts';
import { type Interval, verdictOf } from './policy/intervals.ts';
import { policyId } from './policy/policy.ts';
import { type Layout, sandboxRanges } from './topology/layout.ts';
import { addressOf } from './topology/network.ts';

export type IsDenied = (flow: Flow) => boolean;

/** What a policy says of every address, and which of the host's own it opens. */
type Judge = { readonly intervals: readonly Interval[]; readonly host: ReadonlySet<Ipv4> };

/**
 * Tells the flows that sandboxes have opened and may not have under the policies they have now: rules let pass what
 * is established, so a policy that became narrower takes hold of those only when they are forgotten.
 *
 * @returns a judge for each of the namespaces that track them
 */
export function deniedFlows(
  passes: readonly Pass[],
  layout: Layout,
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
  const router: IsDenied = ({ original }) => {
    const judge = judges.get(original.source);
    return judge !== undefined && verdictOf(judge.intervals, original.destination) === 'drop';
  };
  const root: IsDenied = (flow) => {
    const { original, reply } = flow;
    // what leaves the host is masqueraded, so answers that go to the sandbox's own address are the host's own
    const isToHost = reply.destination === original.source;
    return router(flow) || (isToHost && judges.get(original.source)?.host.has(original.destination) === false);
  };
  return { router, root };
}
