import type { Kernel } from '../linux/apply.ts';
import { type HalfVeth, joinVeths } from '../linux/observe.ts';
import { hasSysctl, readSysctl } from '../linux/sysctl.ts';
import { diff, type Plan } from '../plan/diff.ts';
import { sameObject } from '../plan/same.ts';
import { type KernelObject, type NamespaceName, objectKey, ROOT, ROUTER } from '../plan/state.ts';
import { type Holding, networkOf } from './holding.ts';
import { type Host, hostObjects } from './host/objects.ts';
import { desired } from './topology/desired.ts';
import { BRIDGE, cable, sandboxNamespace } from './topology/layout.ts';

const SLOT_MAX = 32_767;
const FIRST_CABLE = cable(0).index;

/** What of one slot stands in the router namespace. */
type Outside = { readonly objects: readonly KernelObject[]; readonly halves: readonly HalfVeth[] };

const NOTHING: Outside = { objects: [], halves: [] };

/**
 * Compares what is with what should be. One look at the router tells which cables and namespaces live; the insides of
 * sandboxes are read one by one.
 */
export class Survey {
  readonly #kernel: Kernel;
  readonly #host: Host;

  constructor(kernel: Kernel, host: Host) {
    this.#kernel = kernel;
    this.#host = host;
  }

  /**
   * Whether the root namespace has what it should, without a look at the router namespace and its thousands of links:
   * cheap enough to ask again and again.
   */
  isRootWhole(): boolean {
    const { objects, halves } = this.#kernel.look(ROOT);
    const present = new Map(objects.map((object) => [objectKey(object), object]));
    return this.#hostObjects().every((object) => {
      if (object.kind === 'sysctl') return this.#settingOf(object) === object.value;
      if (object.namespace !== ROOT) return true;
      if (object.kind !== 'veth') {
        const found = present.get(objectKey(object));
        return found !== undefined && sameObject(found, object);
      }
      const end = halves.find((half) => half.end.link.index === object.link.index)?.end;
      return end?.link.name === object.link.name && end.up === object.up && end.mtu === object.mtu;
    });
  }

  /** What the host lacks, or has otherwise. Other people's objects in the root namespace are not looked at. */
  hostPlan(): Plan {
    const wanted = this.#hostObjects();
    const keys = new Set(wanted.map(objectKey));
    const namespaces: NamespaceName[] = this.#kernel.exists(ROUTER) ? [ROOT, ROUTER] : [ROOT];
    const states = namespaces.map((namespace) => this.#kernel.look(namespace));
    const seen = whole(states, ROOT).filter((object) => keys.has(objectKey(object)));
    for (const object of wanted) {
      if (object.kind !== 'sysctl' || !namespaces.includes(object.namespace)) continue;
      seen.push({ ...object, value: this.#settingOf(object) });
    }
    return diff(seen, wanted);
  }

  /** Those that this kernel has. */
  #hostObjects(): KernelObject[] {
    return hostObjects(this.#host).filter(
      (object) =>
        // a module gives its settings to every namespace, so the calling thread's tells
        object.kind !== 'sysctl' || object.ofModule !== true || hasSysctl(object.name),
    );
  }

  #settingOf({ namespace, name }: KernelObject & { readonly kind: 'sysctl' }): string {
    return this.#kernel.inside(namespace, () => readSysctl(name));
  }

  /** Namespaces and router-side objects that belong to none of the holdings: what is to go. */
  orphanPlan(holdings: readonly Holding[]): Plan {
    const slots = new Set(holdings.map(({ key }) => key.slot as number));
    const names = new Set([ROUTER, ...holdings.map(({ key }) => sandboxNamespace(key.slot))]);
    const strays = this.#kernel.namespaces().filter((name) => !names.has(name));
    const objects: KernelObject[] = strays.map((namespace) => ({ kind: 'namespace', namespace }));
    for (const [slot, outside] of this.#outside(holdings)) {
      if (slots.has(slot)) continue;
      objects.push(...outside.objects);
      // the far end's details do not matter to a deletion
      for (const { end } of outside.halves) objects.push({ kind: 'veth', ...end, peer: end });
    }
    return diff(objects, []);
  }

  /** What each network lacks, or has otherwise; an empty plan for one that is as it should be. */
  *sandboxPlans(holdings: readonly Holding[]): Generator<{ readonly holding: Holding; readonly plan: Plan }> {
    const outside = this.#outside(holdings);
    for (const holding of holdings) {
      const { slot } = holding.key;
      const namespace = sandboxNamespace(slot);
      const states: Outside[] = [outside.get(slot) ?? NOTHING];
      const wanted = desired(networkOf(holding), this.#host.layout);
      if (this.#kernel.exists(namespace)) states.push(this.#kernel.look(namespace, wanted));
      yield { holding, plan: diff(whole(states, ROUTER), wanted) };
    }
  }

  /**
   * The router namespace by slot. An address on the bridge that no holding has is slot 0's, which nobody's is: it has
   * no owner.
   */
  #outside(holdings: readonly Holding[]): Map<number, Outside> {
    const bySlot = new Map<number, { readonly objects: KernelObject[]; readonly halves: HalfVeth[] }>();
    if (!this.#kernel.exists(ROUTER)) return bySlot;
    const byAddress = new Map(holdings.map(({ bridgeAddress, key }) => [bridgeAddress, key.slot]));
    const at = (slot: number): { readonly objects: KernelObject[]; readonly halves: HalfVeth[] } => {
      let outside = bySlot.get(slot);
      if (outside === undefined) bySlot.set(slot, (outside = { objects: [], halves: [] }));
      return outside;
    };
    const { objects, halves } = this.#kernel.look(ROUTER);
    for (const half of halves) {
      const slot = slotOf(half.end.link.index);
      if (slot !== undefined) at(slot).halves.push(half);
    }
    for (const object of objects) {
      // the router forwards on every link, by a setting of its own
      if (object.kind === 'forwarding' || !('link' in object)) continue;
      const slot = slotOf(object.link.index);
      if (slot !== undefined) at(slot).objects.push(object);
      else if (object.kind === 'neighbour' && object.link.index === BRIDGE.index) {
        at(byAddress.get(object.address) ?? 0).objects.push(object);
      }
    }
    return bySlot;
  }
}

function slotOf(index: number): number | undefined {
  const slot = index - FIRST_CABLE;
  return slot >= 1 && slot <= SLOT_MAX ? slot : undefined;
}

function whole(states: readonly Outside[], nearest: NamespaceName): KernelObject[] {
  const pairs = joinVeths(
    states.flatMap(({ halves }) => halves),
    nearest,
  );
  return [...states.flatMap(({ objects }) => objects), ...pairs];
}
