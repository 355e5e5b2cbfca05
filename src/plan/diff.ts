import { sameObject } from './same.ts';
import { type KernelObject, type NamespaceName, type ObjectKind, objectKey } from './state.ts';

/** One step: `change` brings an existing object to `object`, in place and without interrupting traffic. */
export type Operation =
  | { readonly verb: 'create'; readonly object: KernelObject }
  | { readonly verb: 'change'; readonly object: KernelObject; readonly from: KernelObject }
  | { readonly verb: 'delete'; readonly object: KernelObject };

export type Plan = readonly Operation[];

/**
 * Each kind stands after those it depends on. Creation follows this order, deletion the reverse: the one place that
 * knows either.
 */
const ORDER: readonly ObjectKind[] = [
  'namespace',
  'sysctl',
  // first and last: what they drop never has another way
  'rule',
  'loopback',
  'bridge',
  'tap',
  'veth',
  'vxlan',
  'port',
  'fdb',
  'forwarding',
  'address',
  'neighbour',
  'route',
  'shaper',
  'guard',
];

const rank = new Map(ORDER.map((kind, index) => [kind, index]));

function byDependency(a: KernelObject, b: KernelObject): number {
  return (rank.get(a.kind) ?? 0) - (rank.get(b.kind) ?? 0);
}

/**
 * The steps from what is observed to what is desired: first what must go, then what must change, then what must come, and
 * last what changes to a gateway that may have come.
 * Removing comes first because an object in the wrong place may hold the name or address of one that is wanted. What a
 * namespace or a link takes with it when it goes is not deleted one by one.
 */
export function diff(observed: readonly KernelObject[], desired: readonly KernelObject[]): Plan {
  if (observed.length === 0) return creations(desired);
  const wanted = new Map(desired.map((object) => [objectKey(object), object]));
  const present = new Map(observed.map((object) => [objectKey(object), object]));
  const extra = [...present].filter(([key]) => !wanted.has(key)).map(([, object]) => object);
  const going = goingContainers(extra);

  const deletions = extra
    .filter((object) => !isTakenAlong(object, going))
    .toSorted((a, b) => byDependency(b, a))
    .map((object) => ({ verb: 'delete', object }) as const);
  const changes: Operation[] = [];
  const missing: KernelObject[] = [];
  for (const [key, object] of wanted) {
    const from = present.get(key);
    if (from === undefined || isTakenAlong(from, going)) missing.push(object);
    else if (!sameObject(from, object)) changes.push({ verb: 'change', object, from });
  }
  const [early, late] = [changes.filter((one) => !hasGateway(one)), changes.filter(hasGateway)];
  return [...deletions, ...early, ...creations(missing), ...late];
}

/** The kernel takes a gateway only where there is a way to it, which may have to come first. */
function hasGateway({ object }: Operation): boolean {
  return object.kind === 'route' && object.via !== undefined;
}

function creations(objects: readonly KernelObject[]): Plan {
  return objects.toSorted(byDependency).map((object) => ({ verb: 'create', object }));
}

type Containers = { readonly namespaces: ReadonlySet<NamespaceName>; readonly links: ReadonlySet<string> };

function goingContainers(extra: readonly KernelObject[]): Containers {
  const namespaces = new Set<NamespaceName>();
  const links = new Set<string>();
  for (const object of extra) if (object.kind === 'namespace') namespaces.add(object.namespace);
  for (const object of extra) {
    if (object.kind === 'tap' || object.kind === 'bridge' || object.kind === 'vxlan')
      links.add(linkKey(object.namespace, object.link.index));
    if (object.kind === 'veth') {
      links.add(linkKey(object.namespace, object.link.index));
      links.add(linkKey(object.peer.namespace, object.peer.link.index));
    }
  }
  return { namespaces, links };
}

/** Whether the kernel removes the object by itself when its namespace, its link or (for a pair) its peer's goes. */
function isTakenAlong(object: KernelObject, going: Containers): boolean {
  if (object.kind === 'namespace') return false;
  if (going.namespaces.has(object.namespace)) return true;
  switch (object.kind) {
    case 'loopback':
    case 'sysctl':
    case 'rule':
    case 'tap':
    case 'bridge':
    case 'vxlan':
      return false;
    case 'veth':
      return going.namespaces.has(object.peer.namespace);
    default:
      return going.links.has(linkKey(object.namespace, object.link.index));
  }
}

function linkKey(namespace: NamespaceName, index: number): string {
  return `${namespace}/${index}`;
}
