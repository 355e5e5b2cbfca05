import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';
import type { Element, Ruleset, SetElements } from '../../plan/ruleset.ts';
import { goto, isIn, isIpv4, oifname, rule } from '../../plan/words.ts';
import type { Interval } from '../policy/intervals.ts';
import type { Rate } from '../topology/network.ts';
import { viaLink } from '../via.ts';
import {
  acceptedSet,
  INBOUND,
  OUTBOUND,
  POLICIES,
  PORTS,
  policyChain,
  ROUTER_TABLE,
  TRANSMIT_LIMITS,
} from './names.ts';

/** What the router must know of a sandbox to let its packets through. */
export type Attachment = {
  /** of the link its packets arrive on: the router's end of its cable, or the bridge */
  readonly index: number;
  /** the address it has on that link */
  readonly wireAddress: Ipv4;
  /** the address that the host and the outside know; where nothing is translated, the same */
  readonly hostAddress: Ipv4;
  /** of a policy that is in the table */
  readonly policy: number;
  /** whose it is, such as `a1 generation 3` */
  readonly comment: string;
};

/** The elements of `inet culvert` that make the sandbox reachable; without them it is cut off, both ways. */
export function attachmentElements(attachment: Attachment): SetElements[] {
  const { index, wireAddress, hostAddress, policy, comment } = attachment;
  return [
    { set: OUTBOUND, elements: [{ key: [index, wireAddress], data: [policy, hostAddress], comment }] },
    { set: INBOUND, elements: [{ key: [index, hostAddress], data: [wireAddress], comment }] },
  ];
}

/** The element of `bridge culvert` that binds addresses to a port of the bridge. */
export function portElements(index: number, mac: Mac, address: Ipv4, comment: string): SetElements {
  return { set: PORTS, elements: [{ key: [index, mac, address], comment }] };
}

/** The element that holds what comes from a link to a rate; see {@link ByteLimit} for what passes at once. */
export function transmitLimitElement(index: number, { rate, burst }: Rate, comment: string): SetElements {
  const over = { rate, burst: Math.max(0, burst - rate) };
  return { set: TRANSMIT_LIMITS, elements: [{ key: [index], over, comment }] };
}

/** Lets the sandbox with the one address open connections to the host at the other. */
export function hostAccessElement(source: Ipv4, destination: Ipv4, comment: string): Element {
  return { key: [source, destination], comment };
}

/** Numbers of policies; 0 is the mark of packets that no sandbox sent. */
export const FIRST_POLICY = 1;
/** Of a mark the lower bits; above them stands the number of the tunnel that is the only way. */
const POLICY_BITS = 20;
export const POLICY_MAX = 2 ** POLICY_BITS - 1;
export const VIA_MASK = 0xffffffff - POLICY_MAX;

/** What packets are marked with: the policy that they are under, and the tunnel that they leave by; 0 for none. */
export function markOf(policy: number, via: number): number {
  return via * 2 ** POLICY_BITS + policy;
}

export function policyIn(mark: number): number {
  return mark % 2 ** POLICY_BITS;
}

function viaIn(mark: number): number {
  return Math.floor(mark / 2 ** POLICY_BITS);
}

/** In place of a policy's: nothing passes, not even what is established. */
export const HELD = 0xffffffff;

/**
 * A policy as part of `inet culvert`: what it accepts, and the chain that asks. Sandboxes with equal policies share
 * one.
 *
 * @param policy its mark, see {@link markOf}
 * @param comment by which an observer knows it again
 */
export function policyRuleset(policy: number, intervals: readonly Interval[], comment: string): Ruleset {
  const accepted = acceptedSet(policy);
  const chain = policyChain(policy);
  const via = viaIn(policy);
  const elements = intervals
    .filter(({ verdict }) => verdict === 'accept')
    .map(({ first, last }) => ({ key: [first], last: [last] }));
  return {
    table: ROUTER_TABLE,
    sets: [accepted],
    chains: [
      {
        name: chain,
        rules: [
          ...(via === 0 ? [] : [rule(oifname(viaLink(via), '!='), goto('denied'))]),
          rule(isIpv4, isIn(['ip daddr'], accepted.name), goto('new_flow')),
          goto('denied'),
        ],
      },
    ],
    elements: [
      { set: accepted, elements },
      { set: POLICIES, elements: [{ key: [policy], data: { goto: chain }, comment }] },
    ],
  };
}
