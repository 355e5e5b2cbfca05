import { type Ipv4, ipv4Bytes } from '../../addr/ipv4.ts';
import type { Prefix } from '../../addr/prefix.ts';
import type { Chain, Ruleset } from '../../plan/ruleset.ts';
import {
  accept,
  clampSegmentSize,
  counter,
  decide,
  drop,
  equals,
  find,
  goto,
  hasFlowsOver,
  iifname,
  isBelow,
  isEstablished,
  isIcmp,
  isIn,
  isIpv4,
  isMarked,
  isMarkedWith,
  isNotIpv4,
  isSourceBehindLink,
  isTcp,
  isToPort,
  isUdp,
  isWithin,
  isWithinGroup,
  markFound,
  oifname,
  report,
  rewrite,
  rule,
} from '../../plan/words.ts';
import { BRIDGE, SANDBOX_MAC } from '../topology/layout.ts';
import { HELD, VIA_MASK } from './elements.ts';
import {
  ASKERS,
  DENIED_SENDERS,
  FAR_GROUPS,
  FAR_MEMBERS,
  FLOWS,
  GROUPS,
  ICMP_ERROR_TYPES,
  ICMP_ERRORS,
  INBOUND,
  MEMBERS,
  MESH_LINKS,
  OUTBOUND,
  POLICIES,
  ROUTER_TABLE,
  SANDBOX_LINKS,
  SPOOFERS,
  TRANSMIT_LIMITS,
  VIA_LINKS,
} from './names.ts';

/** RFC 792 */
const ICMP_ECHO = Uint8Array.of(8);

/** RFC 1035, 4.2 */
const DNS_PORT = 53;

/**
 * Datagrams and connections that ask for names, of a sandbox and in a second: what is more would fill the queue that all
 * share, and connection tracking, where each may be a flow for half a minute.
 */
const ASKS = { rate: 200, burst: 1000 };

const isIcmpError = rule(isIcmp, isIn(['icmp type'], 'icmp_errors'));

export type RouterOptions = {
  /** the router's end of the cable to the root namespace */
  readonly uplink: string;
  /** NFLOG group that drops are reported to */
  readonly reportGroup: number;
  /** that a sandbox may have opened at a time */
  readonly maxFlows: number;
  /** the address that the host calls sandboxes from */
  readonly host: Ipv4;
  /** the router's own address that sandboxes ask for names */
  readonly resolver: Ipv4;
  /** UDP, of the hosts’ questions to each other */
  readonly probePort: number;
  /** Of all hosts of the cluster: what is for another host's sandbox goes there encrypted, or nowhere. */
  readonly cluster?: Prefix;
};

/**
 * The router's table. What a sandbox sends passes three chains: `prerouting` finds out who it is from, gives it the
 * address that the outside knows and its policy as a mark; `forward` asks the policy; what goes to a sandbox gets the
 * address that it has inside in `postrouting`. The translation is one to one and needs no connection tracking:
 *
 *     sandbox ──▶ iif . ip saddr @outbound ──▶ mark, ip saddr ──▶ forward: mark vmap @policies ──▶ uplink
 *     sandbox ◀── ip daddr ◀── oif . ip daddr @inbound ◀── forward: established, or from the uplink ◀── uplink
 *
 * Sandboxes reach each other where they are in one group. Of two on different hosts both routers ask that: the sender's
 * whether the destination is in the sender's group, and the other's, of what comes in by the mesh, the same again.
 *
 * What is in neither map passes in neither direction, so taking its elements out cuts a sandbox off at once.
 */
export function routerRuleset(options: RouterOptions): Ruleset {
  const { uplink, reportGroup, maxFlows } = options;
  return {
    table: ROUTER_TABLE,
    sets: [
      OUTBOUND,
      INBOUND,
      TRANSMIT_LIMITS,
      POLICIES,
      GROUPS,
      MEMBERS,
      FAR_GROUPS,
      FAR_MEMBERS,
      ICMP_ERRORS,
      SPOOFERS,
      DENIED_SENDERS,
      ASKERS,
      FLOWS,
    ],
    elements: [{ set: ICMP_ERRORS, elements: ICMP_ERROR_TYPES.map((type) => ({ key: [type] })) }],
    chains: [
      ...outboundChains(uplink),
      ...inboundChains(),
      forwardChain(options),
      ...groupChains(),
      inputChain(options),
      ...resolverChains(),
      { name: 'other_families', rules: [rule(counter, drop)] },
      { name: 'unreachable', rules: [rule(counter, drop)] },
      spoofedChain(reportGroup),
      deniedChain(reportGroup),
      ...newFlowChains(maxFlows, reportGroup),
    ],
  };
}

/** What a sandbox sends beyond its limit is lost. */
export const overLimit = rule(isIn(['iif'], 'transmit_limits'), counter, drop);

/** Drops what bears an address that is not its sender's; the report's prefix is the chain's name. */
export function spoofedChain(group: number): Chain {
  return { name: 'spoofed', rules: [report('spoofed', group, 'iif', SPOOFERS.name), drop] };
}

/** Drops what its sender may not send to where it is going. */
export function deniedChain(group: number): Chain {
  return { name: 'denied', rules: [report('denied', group, 'ip saddr', DENIED_SENDERS.name), drop] };
}

/**
 * Connection tracking has one table for all, the host too: a sandbox that filled it would take the network from
 * everybody. What a policy accepts ends here.
 */
function newFlowChains(maxFlows: number, group: number): Chain[] {
  return [
    { name: 'new_flow', rules: [rule(hasFlowsOver(maxFlows, 'ip saddr', FLOWS.name), goto('crowded')), accept] },
    { name: 'crowded', rules: [report('crowded', group, 'ip saddr', DENIED_SENDERS.name), drop] },
  ];
}

function outboundChains(uplink: string): Chain[] {
  return [
    {
      name: 'prerouting',
      // Before conntrack and its defragmentation, at -400: guests share an address, and one could otherwise slip a
      // fragment into another's packet.
      base: { type: 'filter', hook: 'prerouting', priority: -450, policy: 'accept' },
      // Each packet asks once where it is from: expressions are most of what a table costs it.
      rules: [
        rule(iifname(uplink), accept),
        rule(iifname(SANDBOX_LINKS), goto('from_cable')),
        rule(iifname(BRIDGE.name), goto('from_sandbox')),
      ],
    },
    {
      // On the bridge many addresses share a link, and its own table binds each to a port.
      name: 'from_cable',
      rules: [rule(equals('ether saddr', SANDBOX_MAC, '!='), goto('spoofed')), overLimit, goto('from_sandbox')],
    },
    {
      name: 'from_sandbox',
      rules: [
        rule(isNotIpv4, goto('other_families')),
        rule(isIcmpError, goto('error_from_sandbox')),
        rule(isIpv4, find(['iif', 'ip saddr'], 'outbound'), markFound(0), rewrite('ip saddr', 1), accept),
        goto('spoofed'),
      ],
    },
    {
      // The namespace of a sandbox forwards too, and reports errors from its own address on the link.
      name: 'error_from_sandbox',
      rules: [
        rule(isIpv4, isIn(['iif', 'ip saddr'], 'outbound'), goto('translate_error')),
        rule(iifname(SANDBOX_LINKS), isSourceBehindLink, goto('translate_error')),
        goto('spoofed'),
      ],
    },
    {
      // It can only be about a packet that was sent to the sandbox, and comes from the address that was sent to.
      name: 'translate_error',
      rules: [
        rule(
          isIcmp,
          find(['iif', 'quoted daddr'], 'outbound'),
          markFound(0),
          rewrite('quoted daddr', 1),
          rewrite('ip saddr', 1),
          accept,
        ),
        goto('spoofed'),
      ],
    },
  ];
}

function inboundChains(): Chain[] {
  return [
    {
      name: 'postrouting',
      // after whatever else looks at the packet
      base: { type: 'filter', hook: 'postrouting', priority: 300, policy: 'accept' },
      rules: [rule(oifname(SANDBOX_LINKS), goto('to_sandbox')), rule(oifname(BRIDGE.name), goto('to_sandbox'))],
    },
    {
      name: 'to_sandbox',
      rules: [
        rule(isNotIpv4, goto('other_families')),
        rule(isIcmpError, find(['oif', 'quoted saddr'], 'inbound'), rewrite('quoted saddr', 0)),
        rule(isIpv4, find(['oif', 'ip daddr'], 'inbound'), rewrite('ip daddr', 0), accept),
        goto('unreachable'),
      ],
    },
  ];
}

function forwardChain({ uplink, cluster, host }: RouterOptions): Chain {
  return {
    name: 'forward',
    base: { type: 'filter', hook: 'forward', priority: 0, policy: 'drop' },
    rules: [
      rule(isMarked(HELD), drop),
      // whose one way is a tunnel answers the host, and sends nothing past it, not even where the tunnel is away
      rule(isMarkedWith(VIA_MASK), oifname(uplink), equals('ip daddr', ipv4Bytes(host), '!='), counter, drop),
      // a tunnel is for those who have one, whatever routes say
      rule(oifname(VIA_LINKS), isMarkedWith(VIA_MASK, '=='), counter, drop),
      // the default route would take it, where the way to its host is not there
      ...(cluster === undefined ? [] : [rule(isIpv4, isWithin('ip daddr', cluster), oifname(uplink), counter, drop)]),
      clampSegmentSize,
      rule(isEstablished, accept),
      rule(isNotIpv4, goto('other_families')),
      // nobody has this address: the root namespace would send it here again
      rule(iifname(uplink), oifname(uplink), counter, drop),
      rule(iifname(uplink), accept),
      // nobody beyond a tunnel opens anything, whoever it says that it is
      rule(iifname(VIA_LINKS), counter, drop),
      rule(iifname(MESH_LINKS), goto('from_mesh')),
      rule(isIn(['ip daddr'], 'groups'), goto('to_member')),
      rule(isIn(['ip daddr'], 'far_groups'), goto('to_member')),
      // Every packet of a sandbox has a mark, and none has that comes from elsewhere: veth clears it.
      decide(['mark'], 'policies'),
      goto('denied'),
    ],
  };
}

/** Who opens a connection to whom; WireGuard has bound what comes by the mesh to the host that it is from. */
function groupChains(): Chain[] {
  return [
    { name: 'from_mesh', rules: [rule(isWithinGroup('far_groups', 'members'), goto('new_flow')), goto('denied')] },
    {
      // nobody else reaches one that is in a group, whatever a policy opens
      name: 'to_member',
      rules: [
        rule(isWithinGroup('groups', 'members'), goto('new_flow')),
        rule(isWithinGroup('groups', 'far_members'), goto('new_flow')),
        goto('denied'),
      ],
    },
  ];
}

function inputChain({ uplink, resolver, probePort }: RouterOptions): Chain {
  const isToResolver = equals('ip daddr', ipv4Bytes(resolver));
  return {
    name: 'input',
    base: { type: 'filter', hook: 'input', priority: 0, policy: 'drop' },
    rules: [
      rule(isNotIpv4, goto('other_families')),
      rule(isIcmp, equals('icmp type', ICMP_ECHO), accept),
      // no sandbox's, and of any source
      rule(iifname(uplink), counter, drop),
      // what answers the router, which asks how large packets may be
      rule(iifname(VIA_LINKS), isEstablished, accept),
      rule(iifname(VIA_LINKS), counter, drop),
      // of sandboxes, and not of other hosts
      rule(iifname(SANDBOX_LINKS), isToResolver, goto('resolver')),
      rule(iifname(BRIDGE.name), isToResolver, goto('resolver')),
      // who asks by it is bound to the host that it is from
      rule(iifname(MESH_LINKS), isUdp, isToPort(probePort), accept),
      goto('denied'),
    ],
  };
}

/** What a sandbox may ask of the router, whatever its policy. */
function resolverChains(): Chain[] {
  return [
    {
      name: 'resolver',
      rules: [
        // each datagram is a question, of a flow that is known or not
        rule(isUdp, isToPort(DNS_PORT), goto('asked')),
        rule(isEstablished, accept),
        rule(isTcp, isToPort(DNS_PORT), goto('asked')),
        goto('denied'),
      ],
    },
    {
      name: 'asked',
      rules: [rule(isBelow(ASKS, 'ip saddr', ASKERS.name), goto('new_flow')), rule(counter, drop)],
    },
  ];
}
