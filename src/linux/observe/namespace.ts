import type { KernelObject, Link, NamespaceName } from '../../plan/state.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import {
  findFdbEntries,
  findNeighbours,
  listAddresses,
  listFdbEntries,
  listNeighbours,
  listRoutes,
  listShapers,
} from './attached.ts';
import { findLinks, type HalfVeth, linkObjects, listLinks, type SeenLink } from './links.ts';
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
  const addressed = new Set(wanted.filter(isKind('address')).map(({ link }) => link.index));
  const routed = new Map(wanted.filter(isKind('route')).map((route) => [`${route.link.index}/${route.table}`, route]));
  return {
    objects: [
      { kind: 'namespace', namespace },
      ...objects,
      ...[...addressed].flatMap((index) => {
        const link = links.get(index);
        return link === undefined ? [] : listAddresses(socket, namespace, links, link);
      }),
      ...[...routed.values()].flatMap(({ link, table }) => {
        const on = links.get(link.index);
        return on === undefined ? [] : listRoutes(socket, namespace, links, { on, table });
      }),
      ...(wanted.some(isKind('rule')) ? listPolicyRules(socket, namespace) : []),
      ...findNeighbours(socket, wanted.filter(isKind('neighbour'))),
      ...findFdbEntries(socket, wanted.filter(isKind('fdb'))),
      ...(seen.some(isShaped) ? listShapers(socket, namespace, links) : []),
    ],
    halves,
    links: seen.map(({ end }) => ({ link: end.link, mtu: end.mtu })),
  };
}

function endsIn(object: KernelObject, namespace: NamespaceName): Link[] {
  if (!('link' in object)) return object.kind === 'loopback' ? [{ name: 'lo', index: 1 }] : [];
  if (object.kind === 'port') return [object.link, object.bridge];
  if (object.kind !== 'veth') return [object.link];
  return [object, object.peer].filter((end) => end.namespace === namespace).map(({ link }) => link);
}

function isKind<K extends KernelObject['kind']>(
  kind: K,
): (object: KernelObject) => object is KernelObject & { kind: K } {
  return (object): object is KernelObject & { kind: K } => object.kind === kind;
}

function isShaped({ discipline }: SeenLink): boolean {
  return discipline === 'tbf';
}

function linksOf(seen: readonly SeenLink[]): Map<number, Link> {
  return new Map(seen.map(({ end }) => [end.link.index, end.link]));
}
