import type { Ip } from '../../addr/ip.ts';
import { accept, drop, iifname, masquerade, oifname, rule } from '../../plan/words.ts';
import { tableOf } from './names.ts';
import type { FirewallTable } from './table.ts';
import { clampChain, isFor } from './way.ts';

/** The numbers that nft(8) has the names `raw` and `srcnat` for. */
const RAW = -300;
const SRCNAT = 100;

/**
 * What a tunnel needs whose namespace forwards for others, such as a virtual machine's: what leaves by it has its address,
 * the only one that its peer takes, and TCP, whose ends know nothing of its size, keeps to that.
 *
 * So what answers is for that address too. A peer could send to any other, and under any: to whoever is behind the
 * namespace, as if one of them did. It is lost before connection tracking takes it for a part of a flow.
 *
 * @param name of the tunnel, which is its link's
 * @param addresses the tunnel's own
 */
export function forwardTable(name: string, addresses: readonly Ip[]): FirewallTable {
  const ruleset = {
    table: tableOf('way', name),
    sets: [],
    elements: [],
    chains: [
      {
        name: 'preraw',
        base: { type: 'filter', hook: 'prerouting', priority: RAW, policy: 'accept' },
        rules: [...addresses.map((address) => rule(iifname(name), isFor(address), accept)), rule(iifname(name), drop)],
      },
      clampChain(name),
      {
        name: 'postrouting',
        base: { type: 'nat', hook: 'postrouting', priority: SRCNAT, policy: 'accept' },
        rules: [rule(oifname(name), masquerade)],
      },
    ],
  } as const;
  return { ruleset, contents: [] };
}
