import { type Ip, ipBytes, isIpv6 } from '../../addr/ip.ts';
import type { Chain, Rule } from '../../plan/ruleset.ts';
import {
  clampSegmentSize,
  drop,
  equals,
  iifname,
  isFlowMarked,
  isIpv4,
  isIpv6 as isIpv6Packet,
  isMarked,
  isSourceForeign,
  isUdp,
  keepMark,
  oifname,
  recallMark,
  rule,
} from '../../plan/words.ts';
import { tableOf } from './names.ts';
import type { FirewallTable } from './table.ts';

export type WayOptions = {
  /** of the tunnel, which is its link's */
  readonly name: string;
  /** that the tunnel's encrypted packets carry */
  readonly mark: number;
  /** the tunnel's own */
  readonly addresses: readonly Ip[];
};

/** The numbers that nft(8) has the names `raw` and `mangle` for; wg-quick(8) says them as numbers too. */
const RAW = -300;
const MANGLE = -150;

/**
 * What a full tunnel needs beside its routes, by the same rules at the same hooks and priorities as wg-quick(8) has them:
 *
 * - Who is on one of the host's other links must not reach the tunnel's addresses: routes give the host's answers to
 *   the tunnel, but the host would take the packet, and so tell a neighbour which address it has (CVE-2019-14899).
 * - A flow of encrypted packets keeps their mark, and what answers it bears it from before the route is looked for: by
 *   the mark the way back to the endpoint is the one it came by, so that a strict reverse-path filter lets it in
 *   (net.ipv4.conf.all.src_valid_mark must be 1).
 *
 * Beside them it has what others send through this host open TCP connections with segments that the tunnel takes, of
 * whatever size it is then: who is behind it may have larger links, and hears nothing where routers say nothing.
 *
 * wg-quick has all packets of UDP bear what their flow keeps, which is no mark for most: what others have marked before
 * would lose that. Here only what answers the tunnel's own is marked.
 *
 * wg-quick makes a table `wg-quick-<NAME>` of the family `ip` for a default route of IPv4, and another of the family
 * `ip6` for one of IPv6. This is one of the family `inet`: it comes and goes in one transaction and there is one thing
 * to look for. So the addresses of a family are guarded, and the marks of encrypted packets kept, also where only the
 * other family has a default route.
 */
export function wayTable({ name, mark, addresses }: WayOptions): FirewallTable {
  const ruleset = {
    table: tableOf('way', name),
    sets: [],
    elements: [],
    chains: [
      {
        name: 'preraw',
        base: { type: 'filter', hook: 'prerouting', priority: RAW, policy: 'accept' },
        rules: addresses.map((address) => rule(iifname(name, '!='), isFor(address), isSourceForeign, drop)),
      },
      {
        name: 'premangle',
        base: { type: 'filter', hook: 'prerouting', priority: MANGLE, policy: 'accept' },
        rules: [rule(isUdp, isFlowMarked(mark), recallMark)],
      },
      clampChain(name),
      {
        name: 'postmangle',
        base: { type: 'filter', hook: 'postrouting', priority: MANGLE, policy: 'accept' },
        rules: [rule(isUdp, isMarked(mark), keepMark)],
      },
    ],
  } as const;
  return { ruleset, contents: [] };
}

/** Holds TCP that is forwarded to the size of the tunnel, both ways. @param name of its link */
export function clampChain(name: string): Chain {
  return {
    name: 'forward',
    base: { type: 'filter', hook: 'forward', priority: MANGLE, policy: 'accept' },
    rules: [rule(iifname(name), clampSegmentSize), rule(oifname(name), clampSegmentSize)],
  };
}

/** The packet is for the address. */
export function isFor(address: Ip): Rule {
  return isIpv6(address)
    ? rule(isIpv6Packet, equals('ip6 daddr', ipBytes(address)))
    : rule(isIpv4, equals('ip daddr', ipBytes(address)));
}
