import { firstAddress, lastAddress, type Prefix } from '../../addr/prefix.ts';
import type { NamedSet, Ruleset } from '../../plan/ruleset.ts';
import {
  accept,
  clampSegmentSize,
  counter,
  drop,
  goto,
  iifname,
  isEstablished,
  isIn,
  isIpv4,
  masquerade,
  oifname,
  rule,
} from '../../plan/words.ts';
import { DENIED_SENDERS, HOST_ACCESS, rootTable } from './names.ts';
import { deniedChain } from './router.ts';

/** Rows of the set; an interval has two ends. */
const MAX_RANGES = 1024;

/** All addresses of sandboxes. */
const RANGES: NamedSet = { name: 'ranges', key: ['ipv4_addr'], interval: true, size: 2 * MAX_RANGES };

export type RootOptions = {
  readonly instance: string;
  /** the root namespace's end of the cable to the router */
  readonly cable: string;
  /** that sandboxes' addresses come from, disjoint */
  readonly ranges: readonly Prefix[];
  /** NFLOG group that drops are reported to */
  readonly reportGroup: number;
  /** names of links that others may open connections to sandboxes by; `*` for all */
  readonly inbound: readonly string[];
};

/**
 * The root namespace's table, the same however many sandboxes there are: they leave with the host's address, pass
 * through it, open no connection to the host itself but where {@link hostAccessElement} says so, and others open none to
 * them through it but where `inbound` does.
 *
 * An accept here does not undo a drop in another's table.
 */
export function rootRuleset({ instance, cable, ranges, reportGroup, inbound }: RootOptions): Ruleset {
  return {
    table: rootTable(instance),
    sets: [RANGES, HOST_ACCESS, DENIED_SENDERS],
    elements: [
      { set: RANGES, elements: ranges.map((range) => ({ key: [firstAddress(range)], last: [lastAddress(range)] })) },
    ],
    chains: [
      {
        name: 'postrouting',
        base: { type: 'nat', hook: 'postrouting', priority: 100, policy: 'accept' },
        rules: [rule(isIpv4, isIn(['ip saddr'], 'ranges'), oifname(cable, '!='), masquerade)],
      },
      {
        name: 'forward',
        base: { type: 'filter', hook: 'forward', priority: 0, policy: 'accept' },
        rules: [
          // the host's own routes may be narrower than the cable
          rule(iifname(cable), clampSegmentSize),
          rule(oifname(cable), clampSegmentSize),
          rule(iifname(cable), accept),
          // The host forwards for sandboxes, so every neighbour of its links could have it forward to them.
          rule(oifname(cable), isEstablished, accept),
          ...inbound.map((name) => rule(...(name === '*' ? [] : [iifname(name)]), oifname(cable), accept)),
          rule(oifname(cable), counter, drop),
        ],
      },
      {
        name: 'input',
        base: { type: 'filter', hook: 'input', priority: 0, policy: 'accept' },
        rules: [rule(iifname(cable), goto('from_cable'))],
      },
      {
        name: 'from_cable',
        rules: [
          rule(isEstablished, accept),
          rule(isIpv4, isIn(['ip saddr', 'ip daddr'], 'host_access'), accept),
          goto('denied'),
        ],
      },
      deniedChain(reportGroup),
    ],
  };
}
