import { isIpv6 } from '../../addr/ip.ts';
import { type KernelObject, type Link, type NamespaceName, ruleFamily } from '../../plan/state.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import { listAddresses, listIpv6Addresses } from './addresses.ts';
import { findFdbEntries, findNeighbours, type Links, listFdbEntries, listNeighbours, listShapers } from './attached.ts';
import { findLinks, type HalfVeth, linkObjects, listLinks, type SeenLink } from './links.ts';
import { listRoutes } from './routes.ts';
import { listPolicyRules } from './rules.ts';

export type NamespaceState = {
  /** All but pairs, whose other ends are elsewhere. */
  readonly objects: readonly KernelObject[];
  readonly halves: readonly HalfVeth[];
  /** Every link, of whatever kind, and its MTU in bytes. */
  readonly links: readonly { readonly link: Link; readonly mtu: number }[];
};

/**
 * Reads what a namespace holds into the shape that plans are made of.
 *
 * @param wanted where given, of neighbours only these are looked for, one by one
 */
export function observeNamespace(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  wanted?: readonly KernelObject[],
): NamespaceState {
  const seen = listLinks(socket, namespace);
  const links = linksOf(seen);
  const { objects, halves } = linkObjects(namespace, seen);
  // only a namespace with a bridge has a forwarding database
  const hasBridge = objects.some(({ kind }) => kind === 'bridge');
  const neighbours =
    wanted === undefined
      ? [...listNeighbours(socket, namespace, links), ...(hasBridge ? listFdbEntries(socket, namespace, links) : [])]
      : findNeighbours(socket, wanted.filter(isKind('neighbour')));
  return {
    objects: [
      { kind: 'namespace', namespace },
      ...objects,
      ...listAddresses(socket, namespace, links),
      ...listRoutes(socket, namespace, links),
      ...neighbours,
      ...(seen.some(isShaped) ? listShapers(socket, namespace, links) : []),
    ],
    halves,
    links: seen.map(({ end }) => ({ link: end.link, mtu: end.mtu })),
  };
}

/**
 * Looks for these objects alone: in a namespace with ten thousand links that is a thousand times cheaper than all of
 * it. What else is there is not seen.
 */
export function findObjects(
  socket: NetlinkSocket,
  namespace: NamespaceName,
  wanted: readonly KernelObject[],
): NamespaceState {
  const ends = wanted.flatMap((object) => endsIn(object, namespace));
  const seen = findLinks(socket, namespace, [...new Map(ends.map((link) => [link.index, link])).values()]);
  const links = linksOf(seen);
  const { objects, halves } = linkObjects(namespace, seen);
  return {
    objects: [
      { kind: 'namespace', namespace },
      ...objects,
      ...addressesLike(wanted.filter(isKind('address')), { socket, namespace, links }),
      ...routesLike(wanted.filter(isKind('route')), { socket, namespace, links }),
      ...rulesLike(wanted.filter(isKind('rule')), { socket, namespace, links }),
      ...findNeighbours(socket, wanted.filter(isKind('neighbour'))),
      ...findFdbEntries(socket, wanted.filter(isKind('fdb'))),
      ...(seen.some(isShaped) ? listShapers(socket, namespace, links) : []),
    ],
    halves,
    links: seen.map(({ end }) => ({ link: end.link, mtu: end.mtu })),
  };
}

type Place = { readonly socket: NetlinkSocket; readonly namespace: NamespaceName; readonly links: Map<number, Link> };

/** Of their links and families. */
function addressesLike(wanted: readonly Kind<'address'>[], { socket, namespace, links }: Place): KernelObject[] {
  const kinds = new Map(wanted.map(({ link, address }) => [`${link.index}/${isIpv6(address)}`, { link, address }]));
  return [...kinds.values()].flatMap(({ link, address }): KernelObject[] => {
    const on = links.get(link.index);
    if (on === undefined) return [];
    const list = isIpv6(address) ? listIpv6Addresses : listAddresses;
    return list(socket, namespace, links, on);
  });
}

/** Of their links, tables, families and protocols. */
function routesLike(wanted: readonly Kind<'route'>[], { socket, namespace, links }: Place): KernelObject[] {
  const kinds = new Map<string, Kind<'route'>>();
  for (const route of wanted) {
    const { link, table, destination, protocol, type } = route;
    const of = type === undefined ? link.index : 'dead ends';
    kinds.set(`${of}/${table}/${isIpv6(destination.address)}/${protocol}`, route);
  }
  return [...kinds.values()].flatMap(({ link, table, destination, type, ...route }) => {
    const family = isIpv6(destination.address) ? 'inet6' : 'inet';
    if (type !== undefined) {
      // they have no link, or one by which they are not found
      const protocol = route.protocol ?? 'each';
      const found = listRoutes(socket, namespace, NO_LINKS, { family, table, protocol });
      return found.filter((other) => other.protocol === route.protocol);
    }
    const on = links.get(link.index);
    return on === undefined
      ? []
      : listRoutes(socket, namespace, links, { family, on, table, protocol: route.protocol });
  });
}

const NO_LINKS: Links = new Map();

/** Of their families and protocols. */
function rulesLike(wanted: readonly Kind<'rule'>[], { socket, namespace }: Place): KernelObject[] {
  const filters = wanted.map((rule) => ({ family: ruleFamily(rule), protocol: rule.protocol }));
  const kinds = new Map(filters.map((filter) => [`${filter.family}/${filter.protocol}`, filter]));
  return [...kinds.values()].flatMap((filter) => listPolicyRules(socket, namespace, filter));
}

type Kind<K extends KernelObject['kind']> = Extract<KernelObject, { readonly kind: K }>;

function endsIn(object: KernelObject, namespace: NamespaceName): Link[] {
  if (!('link' in object)) return object.kind === 'loopback' ? [{ name: 'lo', index: 1 }] : [];
  if (object.kind === 'port') return [object.link, object.bridge];
  if (object.kind !== 'veth') return [object.link];
  return [object, object.peer].filter((end) => end.namespace === namespace).map(({ link }) => link);
}

function isKind<K extends KernelObject['kind']>(kind: K): (object: KernelObject) => object is Kind<K> {
  return (object): object is Kind<K> => object.kind === kind;
}

function isShaped({ discipline }: SeenLink): boolean {
  return discipline === 'tbf';
}

function linksOf(seen: readonly SeenLink[]): Map<number, Link> {
  return new Map(seen.map(({ end }) => [end.link.index, end.link]));
}
