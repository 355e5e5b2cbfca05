import { clampSegmentSize, iifname, masquerade, oifname, rule } from '../../plan/words.ts';
import { tableOf } from './names.ts';
import type { FirewallTable } from './table.ts';

/** The numbers that nft(8) has the names `mangle` and `srcnat` for. */
const MANGLE = -150;
const SRCNAT = 100;

/**
 * What a tunnel needs whose namespace forwards for others, such as a virtual machine's: what leaves by it has its address,
 * the only one that its peer takes, and TCP, whose ends know nothing of its size, keeps to that.
 *
 * @param name of the tunnel, which is its link's
 */
export function forwardTable(name: string): FirewallTable {
  const ruleset = {
    table: tableOf('way', name),
    sets: [],
    elements: [],
    chains: [
      {
        name: 'forward',
        base: { type: 'filter', hook: 'forward', priority: MANGLE, policy: 'accept' },
        rules: [rule(oifname(name), clampSegmentSize), rule(iifname(name), clampSegmentSize)],
      },
      {
        name: 'postrouting',
        base: { type: 'nat', hook: 'postrouting', priority: SRCNAT, policy: 'accept' },
        rules: [rule(oifname(name), masquerade)],
      },
    ],
  } as const;
  return { ruleset, contents: [] };
}
