import { addIpv4, type Ipv4 } from '../../addr/ipv4.ts';
import { type Prefix, prefixSize } from '../../addr/prefix.ts';
import type { Chain, NamedSet, Ruleset, SetElements, Table } from '../../plan/ruleset.ts';
import {
  accept,
  counter,
  drop,
  equals,
  goto,
  iifname,
  isIn,
  isIpv4,
  isToPort,
  isUdp,
  isWithin,
  notrack,
  oifname,
  rule,
} from '../../plan/words.ts';
import { directCable } from '../link.ts';
import type { ClearOptions } from './options.ts';
import type { ClearPeer } from './peer.ts';

/** The units that a cluster's range has at most. */
const MAX_UNITS = 65_536;

/** Address that a host's VXLAN packets come from, and a unit whose addresses what is in them may bear. */
export const WRAPPED: NamedSet = { name: 'wrapped', key: ['ipv4_addr', 'ipv4_addr'], size: MAX_UNITS };

/** Units whose addresses what comes from the uplink, and goes there, may bear. */
export const DIRECT: NamedSet = { name: 'direct', key: ['ipv4_addr'], size: MAX_UNITS };

/** No daemon's own table has an underscore in its name. */
export function clearTable(instance: string): Table {
  return { family: 'inet', name: `culvert_clear-${instance}` };
}

/** before connection tracking, NF_IP_PRI_RAW in linux/netfilter_ipv4.h */
const RAW = -300;

/** linux/if_ether.h, ETH_P_IP */
const ETHERTYPE_IPV4 = Uint8Array.of(0x08, 0x00);

/**
 * In the root namespace: who of other hosts is heard in clear. Each speaks for its own subnet and nobody else's; whoever
 * is in no set is not heard. None of it is tracked: there would be an entry for each flow between sandboxes, and whoever
 * translates addresses of what the host sends would translate these.
 *
 * A packet is whole where `input` sees it, as the kernel puts fragments together before.
 */
export function clearRuleset(options: ClearOptions): Ruleset {
  const { instance, unit, port, uplink } = options;
  const isOurs = rule(isIpv4, isUdp, isToPort(port));
  const ofUplink = uplink === undefined ? { untracked: [], chains: [] } : directParts(options, uplink);
  return {
    table: clearTable(instance),
    sets: [WRAPPED, DIRECT],
    elements: [],
    chains: [
      {
        name: 'prerouting',
        base: { type: 'filter', hook: 'prerouting', priority: RAW, policy: 'accept' },
        rules: [rule(isOurs, notrack), ...ofUplink.untracked],
      },
      {
        name: 'output',
        base: { type: 'filter', hook: 'output', priority: RAW, policy: 'accept' },
        rules: [rule(isOurs, notrack)],
      },
      {
        name: 'input',
        base: { type: 'filter', hook: 'input', priority: 0, policy: 'accept' },
        rules: [rule(isOurs, goto('wrapped'))],
      },
      {
        name: 'wrapped',
        rules: [
          rule(
            equals('inner protocol', ETHERTYPE_IPV4),
            isIn(['ip saddr', { part: 'inner saddr', length: unit }], WRAPPED.name),
            accept,
          ),
          rule(counter, drop),
        ],
      },
      ...ofUplink.chains,
    ],
  };
}

function directParts(
  { instance, subnet, range, unit }: ClearOptions,
  uplink: string,
): { readonly untracked: Chain['rules']; readonly chains: Chain[] } {
  const { name: cable } = directCable(instance);
  const isPeer = (part: 'ip saddr' | 'ip daddr'): Chain['rules'][number] =>
    rule(isIpv4, isIn([{ part, length: unit }], DIRECT.name));
  const forward: Chain = {
    name: 'forward',
    base: { type: 'filter', hook: 'forward', priority: 0, policy: 'accept' },
    rules: [
      rule(iifname(cable), oifname(uplink), isPeer('ip daddr'), accept),
      rule(iifname(uplink), oifname(cable), isPeer('ip saddr'), accept),
      rule(iifname(cable), counter, drop),
      rule(oifname(cable), counter, drop),
    ],
  };
  const input: Chain = {
    // the host itself is reached by the other cable
    name: 'direct_input',
    base: { type: 'filter', hook: 'input', priority: 0, policy: 'accept' },
    rules: [rule(iifname(cable), counter, drop)],
  };
  const fromPeers = rule(iifname(uplink), isIpv4, isWithin('ip saddr', range), isWithin('ip daddr', subnet), notrack);
  return { untracked: [rule(iifname(cable), notrack), fromPeers], chains: [forward, input] };
}

/** What lets a peer be heard. */
export function peerElements({ unit }: ClearOptions, { subnet, endpoint, onLink }: ClearPeer): SetElements[] {
  const units = unitsIn(subnet, unit);
  return [
    { set: WRAPPED, elements: units.map((first) => ({ key: [endpoint.address, first] })) },
    ...(onLink ? [{ set: DIRECT, elements: units.map((first) => ({ key: [first] })) }] : []),
  ];
}

/** The first address of each unit of a subnet. */
function unitsIn(subnet: Prefix, unit: number): Ipv4[] {
  const size = prefixSize({ address: subnet.address, length: unit });
  return Array.from({ length: 2 ** (unit - subnet.length) }, (_, index) => addIpv4(subnet.address, index * size));
}
