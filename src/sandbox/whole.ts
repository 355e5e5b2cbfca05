import type { HalfVeth } from '../linux/observe/links.ts';
import { alike, sameObject } from '../plan/same.ts';
import { type KernelObject, LOOPBACK, type NamespaceName, objectKey } from '../plan/state.ts';
import type { Part } from './outside.ts';
import { ETH0, TAP0 } from './topology/layout.ts';
import type { Network } from './topology/network.ts';

/** Whether one of the two namespaces that a network spans holds what it should of it, and nothing else. */
export function isWhole({ objects, halves }: Part, wanted: readonly KernelObject[], namespace: NamespaceName): boolean {
  const missing = new Map<string, KernelObject>();
  for (const object of wanted) {
    if (object.namespace === namespace && object.kind !== 'veth') missing.set(objectKey(object), object);
  }
  for (const object of objects) {
    const key = objectKey(object);
    const twin = missing.get(key);
    if (twin === undefined || !sameObject(object, twin)) return false;
    missing.delete(key);
  }
  const ends = wanted.flatMap((object) => halvesIn(object, namespace));
  return missing.size === 0 && alike(ends, halves);
}

/**
 * What of a sandbox's namespace is of its network. One that leaves by a tunnel has that inside too, which is for who
 * keeps it to look after.
 */
export function ofNetwork(part: Part, { hasTunnel }: Network): Part {
  if (hasTunnel !== true) return part;
  const isOwn = (object: KernelObject): boolean => !('link' in object) || OWN_LINKS.has(object.link.name);
  return { ...part, objects: part.objects.filter(isOwn) };
}

const OWN_LINKS: ReadonlySet<string> = new Set([LOOPBACK, ETH0, TAP0].map(({ name }) => name));

/** Whether an object is a link, or what a link is said to be, and does not only hang on one. */
export function isLink({ kind }: KernelObject): boolean {
  return kind === 'veth' || kind === 'port';
}

function halvesIn(object: KernelObject, namespace: NamespaceName): HalfVeth[] {
  if (object.kind !== 'veth') return [];
  const { peer, kind: _, ...outer } = object;
  return [
    { end: outer, peerIndex: peer.link.index },
    { end: peer, peerIndex: outer.link.index },
  ].filter(({ end }) => end.namespace === namespace);
}
