import type { Ipv4 } from '../addr/ipv4.ts';
import type { HalfVeth } from '../linux/observe/links.ts';
import type { KernelObject, Link } from '../plan/state.ts';
import type { Holding } from './holding.ts';
import { BRIDGE, cable } from './topology/layout.ts';

const SLOT_MAX = 32_767;
const FIRST_CABLE = cable(0).index;

/** What of one slot stands in the router namespace. */
export type Part = { readonly objects: readonly KernelObject[]; readonly halves: readonly HalfVeth[] };

const NOTHING: Part = { objects: [], halves: [] };

/** What is seen of the router namespace, by whose it is. */
export class Outside {
  readonly #slots = new Map<number, { readonly objects: KernelObject[]; readonly halves: HalfVeth[] }>();
  /** Of the one link that all on the bridge share: by the address, which is one sandbox's. */
  readonly #bridge = new Map<Ipv4, KernelObject>();

  constructor({ objects, halves }: Part = NOTHING) {
    this.add(objects, halves);
  }

  /** Takes note of what belongs to sandboxes; the rest is the host's. */
  add(objects: readonly KernelObject[], halves: readonly HalfVeth[] = []): void {
    for (const half of halves) this.#at(half.end.link)?.halves.push(half);
    for (const object of objects) {
      // the router forwards on every link, by a setting of its own
      if (object.kind === 'forwarding' || !('link' in object)) continue;
      if (object.kind === 'neighbour' && object.link.index === BRIDGE.index) this.#bridge.set(object.address, object);
      else this.#at(object.link)?.objects.push(object);
    }
  }

  of({ key, bridgeAddress }: Holding): Part {
    const { objects, halves } = this.#slots.get(key.slot) ?? NOTHING;
    const neighbour = bridgeAddress === undefined ? undefined : this.#bridge.get(bridgeAddress);
    return { objects: neighbour === undefined ? objects : [...objects, neighbour], halves };
  }

  /** What belongs to none of the holdings. */
  orphans(holdings: readonly Holding[]): KernelObject[] {
    const slots = new Set<number>(holdings.map(({ key }) => key.slot));
    const addresses = new Set(holdings.map(({ bridgeAddress }) => bridgeAddress));
    const orphans = [...this.#bridge].filter(([address]) => !addresses.has(address)).map(([, object]) => object);
    for (const [slot, { objects, halves }] of this.#slots) {
      if (slots.has(slot)) continue;
      orphans.push(...objects);
      // the far end's details do not matter to a deletion
      for (const { end } of halves) orphans.push({ kind: 'veth', ...end, peer: end });
    }
    return orphans;
  }

  #at({ index }: Link): { readonly objects: KernelObject[]; readonly halves: HalfVeth[] } | undefined {
    const slot = slotOf(index);
    if (slot === undefined) return undefined;
    let part = this.#slots.get(slot);
    if (part === undefined) this.#slots.set(slot, (part = { objects: [], halves: [] }));
    return part;
  }
}

/** The slot whose cable has this index; undefined where none has. */
export function slotOf(index: number): number | undefined {
  const slot = index - FIRST_CABLE;
  return slot >= 1 && slot <= SLOT_MAX ? slot : undefined;
}
