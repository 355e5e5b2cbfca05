import { isIpv6 } from '../../addr/ip.ts';
import {
  type IpPrefix,
  ipPrefixAround,
  ipPrefixCovers,
  parseIpPrefix,
  withoutIpPrefixes,
} from '../../addr/ip-prefix.ts';
import { type Family, type KernelObject, type Link, type NamespaceName, ROOT } from '../../plan/state.ts';
import type { RoutedConfig } from '../config/config.ts';

/** Of routes and rules: whose they are, as rtnetlink has it (rtm_protocol, FRA_PROTOCOL). */
export const TUNNEL_PROTOCOL = 203;

/** linux/rtnetlink.h */
export const RT_TABLE_MAIN = 254;

/** What a tunnel is told apart by where more than one could have it; chosen by what the kernel has. */
export type Numbers = {
  /** of encrypted packets, and of the table of routes that all others ask; 0 where neither is needed */
  readonly fwMark: number;
  /** of the rule that leads to the table; the one before it leads to all that is better known than by a default route */
  readonly priorities: Readonly<Record<Family, number>>;
};

const FAMILIES: readonly Family[] = ['inet', 'inet6'];
const ALL: Readonly<Record<Family, IpPrefix>> = {
  inet: parseIpPrefix('0.0.0.0/0'),
  inet6: parseIpPrefix('::/0'),
};

function familyOf({ address }: Pick<IpPrefix, 'address'>): Family {
  return isIpv6(address) ? 'inet6' : 'inet';
}

/** Of which everything goes through the tunnel, but for what is excluded: what has a default route in a table of its own. */
export function fullFamilies(config: RoutedConfig): Family[] {
  return config.table === 'auto' ? wholeFamilies(config) : [];
}

/** The same, whatever table it stands in. */
export function wholeFamilies({ routed, excluded }: Pick<RoutedConfig, 'routed' | 'excluded'>): Family[] {
  return FAMILIES.filter((family) => {
    const isThere = routed.some((prefix) => familyOf(prefix) === family);
    return isThere && withoutIpPrefixes([ALL[family]], [...routed, ...excluded]).length === 0;
  });
}

/**
 * What a tunnel's link has, and what leads there, as wg-quick(8) has it.
 *
 * @param namespace that the link is in
 */
export function tunnelObjects(
  config: RoutedConfig,
  link: Link,
  numbers: Numbers,
  namespace: NamespaceName = ROOT,
): KernelObject[] {
  const full = fullFamilies(config);
  return [
    ...addressesOf(config, link, namespace),
    ...config.routed.flatMap((prefix) => routeTo(prefix, config, link, { full, numbers, namespace })),
    ...full.flatMap((family) => rulesOf(family, numbers)),
  ];
}

/**
 * To the network of an address the kernel has a route in the main table: where a namespace has a table for who may use the
 * tunnel, that would lead all others into it.
 */
function addressesOf({ addresses, table }: RoutedConfig, link: Link, namespace: NamespaceName): KernelObject[] {
  const isApart = namespace !== ROOT && typeof table === 'number' && table !== RT_TABLE_MAIN;
  return addresses.map(({ address, length }): KernelObject => {
    const own = { kind: 'address', namespace, link, address } as const;
    return { ...own, length: isApart ? (isIpv6(address) ? 128 : 32) : length };
  });
}

type How = { readonly full: readonly Family[]; readonly numbers: Numbers; readonly namespace: NamespaceName };

/**
 * A default route stands in a table of its own, which all packets ask but the encrypted ones. Where it is in pieces, since
 * parts are excluded or as two halves, all of them stand there: in the main table they would lead the encrypted packets
 * into the tunnel too.
 */
function routeTo(
  prefix: IpPrefix,
  { table, routed, addresses }: RoutedConfig,
  link: Link,
  { full, numbers, namespace }: How,
): KernelObject[] {
  const family = familyOf(prefix);
  const route = { kind: 'route', namespace, destination: prefix, link, protocol: TUNNEL_PROTOCOL } as const;
  if (typeof table === 'number' && table !== RT_TABLE_MAIN) return [{ ...route, table }];
  const isInPieces = !routed.some((one) => one.length === 0 && familyOf(one) === family);
  if (full.includes(family) && (prefix.length === 0 || isInPieces)) return [{ ...route, table: numbers.fwMark }];
  // the kernel has a route to the network of each address
  const isConnected = addresses.some((own) => ipPrefixCovers(ipPrefixAround(own.address, own.length), prefix));
  return isConnected ? [] : [route];
}

/**
 * What is not encrypted asks the tunnel's table, after all that the main one has but a default route
 * (`suppress_prefixlength 0`): neighbours and what others have routes for are reached as before.
 */
function rulesOf(family: Family, { fwMark, priorities }: Numbers): KernelObject[] {
  const common = { kind: 'rule', namespace: ROOT, family, protocol: TUNNEL_PROTOCOL } as const;
  const priority = priorities[family];
  return [
    { ...common, priority, mark: { value: fwMark }, inverted: true, table: fwMark },
    { ...common, priority: priority - 1, suppressPrefixLength: 0, table: RT_TABLE_MAIN },
  ];
}
