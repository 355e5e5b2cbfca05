import type { Kernel } from '../linux/apply.ts';
import { joinVeths } from '../linux/observe/links.ts';
import { listRoutes } from '../linux/observe/routes.ts';
import { SyscallError } from '../linux/syscall.ts';
import { hasSysctl, readSysctl } from '../linux/sysctl.ts';
import { diff, type Plan } from '../plan/diff.ts';
import { sameObject } from '../plan/same.ts';
import { type KernelObject, type NamespaceName, objectKey, ROOT, ROUTER } from '../plan/state.ts';
import { type Holding, networkOf } from './holding.ts';
import { type Host, hostObjects, rootCable, UPLINK } from './host/objects.ts';
import { Outside, type Part } from './outside.ts';
import { desired } from './topology/desired.ts';
import { cable, hostAddress, sandboxNamespace } from './topology/layout.ts';
import { ofNetwork } from './whole.ts';

/** Compares what is with what should be: of the host, and of one sandbox at a time. */
export class Survey {
  readonly #kernel: Kernel;
  readonly #host: Host;

  constructor(kernel: Kernel, host: Host) {
    this.#kernel = kernel;
    this.#host = host;
  }

  /** Whether the root namespace has what it should: cheap enough to ask again and again, whatever else is there. */
  isRootWhole(): boolean {
    const wanted = this.#hostObjects();
    const { objects, halves } = this.#kernel.find(ROOT, wanted);
    const present = new Map(objects.map((object) => [objectKey(object), object]));
    return wanted.every((object) => {
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

  /**
   * What the host lacks, or has otherwise, and what is left on its cable of a range that it had before. Nothing else is
   * looked at: the root namespace is other people's.
   */
  hostPlan(): Plan {
    const wanted = this.#hostObjects();
    const keys = new Set(wanted.map(objectKey));
    const namespaces: NamespaceName[] = this.#kernel.exists(ROUTER) ? [ROOT, ROUTER] : [ROOT];
    const states = namespaces.map((namespace) => this.#kernel.find(namespace, wanted));
    const { index } = rootCable(this.#host.instance);
    const isOfCable = (object: KernelObject): boolean =>
      (object.kind === 'address' && object.namespace === ROOT && object.link.index === index) ||
      (object.kind === 'route' && object.namespace === ROUTER && object.link.index === UPLINK.index);
    const found = whole(states, ROOT);
    const seen = found.filter((object) => keys.has(objectKey(object)));
    for (const object of wanted) {
      if (object.kind !== 'sysctl' || !namespaces.includes(object.namespace)) continue;
      seen.push({ ...object, value: this.#settingOf(object) });
    }
    const former = found.filter((object) => isOfCable(object) && !keys.has(objectKey(object)));
    // with its last address a link would lose every route
    return [...diff(seen, wanted), ...diff(former, [])];
  }

  /** All of the router namespace: with ten thousand sandboxes that takes a second. */
  outside(): Outside {
    return new Outside(this.#kernel.exists(ROUTER) ? this.#kernel.look(ROUTER) : undefined);
  }

  /** Namespaces that belong to none of the holdings are to go. */
  strayPlan(holdings: readonly Holding[]): Plan {
    const names = new Set([ROUTER, ...holdings.map(({ key }) => sandboxNamespace(key.slot))]);
    const strays = this.#kernel.namespaces().filter((name) => !names.has(name));
    return diff(
      strays.map((namespace) => ({ kind: 'namespace', namespace })),
      [],
    );
  }

  /**
   * What a network lacks, or has otherwise; an empty plan where it is as it should be.
   *
   * @param outside what the router namespace has of it; looked for where it is not given
   */
  sandboxPlan(holding: Holding, outside?: Part): Plan {
    const network = networkOf(holding);
    const wanted = desired(network, this.#host.layout);
    const states = [outside ?? new Outside(this.#kernel.find(ROUTER, wanted)).of(holding)];
    const inside = this.#inside(sandboxNamespace(holding.key.slot), wanted);
    if (inside !== undefined) states.push(ofNetwork(inside, network));
    return diff(whole(states, ROUTER), wanted);
  }

  /** Those of the networks whose addresses the router leads elsewhere: they were built when the ranges were others. */
  misled(holdings: readonly Holding[]): Holding[] {
    const links = new Map(holdings.map(({ key }) => [cable(key.slot).index, cable(key.slot)]));
    if (links.size === 0) return [];
    const found = this.#kernel.withSocket(ROUTER, (socket) => listRoutes(socket, ROUTER, links));
    return holdings.filter(({ key }) => {
      const to = hostAddress(this.#host.layout, key.slot);
      const own = found.filter(({ link }) => link.index === cable(key.slot).index);
      return own.length > 0 && !own.some(({ destination }) => destination.address === to);
    });
  }

  /**
   * Undefined where there is no such namespace. A pin that pins nothing, as one that somebody has unmounted, is taken
   * away.
   */
  #inside(namespace: NamespaceName, wanted: readonly KernelObject[]): Part | undefined {
    try {
      return this.#kernel.look(namespace, wanted);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.errnoName === 'EINVAL' && this.#kernel.dropBarePin(namespace)) return undefined;
      if (error.errnoName === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Those that there can be now: a setting is a module's, or goes and comes with the uplink. */
  #hostObjects(): KernelObject[] {
    return hostObjects(this.#host).filter(
      (object) =>
        // a module gives its settings to every namespace, so the calling thread's tells
        object.kind !== 'sysctl' || (object.namespace !== ROOT && object.ofModule !== true) || hasSysctl(object.name),
    );
  }

  #settingOf({ namespace, name }: KernelObject & { readonly kind: 'sysctl' }): string {
    return this.#kernel.inside(namespace, () => readSysctl(name));
  }
}

function whole(states: readonly Part[], nearest: NamespaceName): KernelObject[] {
  const pairs = joinVeths(
    states.flatMap(({ halves }) => halves),
    nearest,
  );
  return [...states.flatMap(({ objects }) => objects), ...pairs];
}
