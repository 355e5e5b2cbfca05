import { existsSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Plan } from '../plan/diff.ts';
import { type KernelObject, type Link, type NamespaceName, ROOT } from '../plan/state.ts';
import { isNamespace, NamespaceHandle } from './namespace.ts';
import { NETLINK_NETFILTER, NETLINK_ROUTE } from './netlink/constants.ts';
import { NetlinkSocket } from './netlink/socket.ts';
import { observeGuard } from './nftables/guard.ts';
import { findObjects, type NamespaceState, observeNamespace } from './observe/namespace.ts';
import { ApplyError, PlanRun } from './plan-run.ts';
import { listPorts, type Port } from './route/bridge.ts';
import { hasLink } from './route/ifreq.ts';
import { deleteLink } from './route/link.ts';
import { SyscallError } from './syscall.ts';

/**
 * The kernel as one of the threads that write it holds it. The calling thread's namespace is the root; every other is a pin in
 * `pins`. Sockets stay open for the namespaces named in `keep`; the others' live as long as one plan.
 */
export class Kernel implements Disposable {
  /** the folder of the pins */
  readonly pins: string;
  readonly #keep: ReadonlySet<NamespaceName>;
  readonly #kept = new Map<NamespaceName, NetlinkSocket>();
  readonly #home = new NamespaceHandle();

  constructor(pins: string, keep: readonly NamespaceName[] = []) {
    this.pins = pins;
    this.#keep = new Set(keep);
  }

  pin(namespace: NamespaceName): string {
    return join(this.pins, namespace);
  }

  /** Enters the namespace, which the root also is: it needs no pin. */
  inside<T>(namespace: NamespaceName, body: () => T): T {
    if (namespace === ROOT) return body();
    using handle = new NamespaceHandle(this.pin(namespace));
    return handle.run(body, this.#home);
  }

  /** The same where somebody may let go of the namespace at any moment: undefined where there is none any more. */
  insideIfThere<T>(namespace: NamespaceName, body: () => T): T | undefined {
    if (namespace === ROOT) return body();
    using handle = NamespaceHandle.ofPin(this.pin(namespace));
    return handle?.run(body, this.#home);
  }

  /**
   * Carries out the steps in order, those that are bare messages together in one batch per namespace. If one fails,
   * everything the plan created is taken away again, in reverse.
   *
   * @throws ApplyError
   */
  apply(plan: Plan): void {
    using run = new PlanRun({
      pin: (namespace) => this.pin(namespace),
      home: this.#home,
      kept: this.#kept,
      keep: this.#keep,
    });
    run.apply(plan);
  }

  exists(namespace: NamespaceName): boolean {
    return namespace === ROOT || existsSync(this.pin(namespace));
  }

  /** Takes away a pin that pins no namespace, and says whether it was one. */
  dropBarePin(namespace: NamespaceName): boolean {
    const pin = this.pin(namespace);
    if (isNamespace(pin)) return false;
    unlinkSync(pin);
    return true;
  }

  /** Every namespace that has a pin. */
  namespaces(): NamespaceName[] {
    return readdirSync(this.pins);
  }

  /**
   * Carries out deletions in order, all of them, whatever fails; what is gone already is as good as deleted.
   *
   * @throws AggregateError of everything that went wrong
   */
  remove(plan: Plan): void {
    const failures: unknown[] = [];
    for (const operation of plan) {
      try {
        this.apply([operation]);
      } catch (error) {
        if (!isGone(error)) failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, `Cannot remove ${failures.length} objects`);
  }

  /** The indexes of those of the links that exist. */
  presentLinks(namespace: NamespaceName, links: readonly Link[]): Set<number> {
    const present = this.withSocket(namespace, (socket) => links.filter(({ index }) => hasLink(socket, index)));
    return new Set(present.map(({ index }) => index));
  }

  /** All ports of a bridge, whoever put them there. */
  ports(namespace: NamespaceName, bridge: Link): Port[] {
    return this.withSocket(namespace, (socket) => listPorts(socket, bridge.index));
  }

  /** Deletes links that may be gone by now. */
  deleteLinks(namespace: NamespaceName, links: readonly Link[]): void {
    const errors = this.withSocket(namespace, (socket) => socket.batch(links.map(deleteLink)));
    const failure = errors.find((error) => error !== undefined && error.errnoName !== 'ENODEV');
    if (failure !== undefined) throw failure;
  }

  /** The same where somebody may let go of the namespace at any moment: undefined where there is none any more. */
  withSocketIfThere<T>(namespace: NamespaceName, body: (socket: NetlinkSocket) => T): T | undefined {
    if (this.#keep.has(namespace)) return this.withSocket(namespace, body);
    using socket = this.insideIfThere(namespace, () => new NetlinkSocket(NETLINK_ROUTE));
    return socket && body(socket);
  }

  /** Lends a socket of NETLINK_ROUTE that is in the namespace. */
  withSocket<T>(namespace: NamespaceName, body: (socket: NetlinkSocket) => T): T {
    const kept = this.#kept.get(namespace);
    if (kept !== undefined) return body(kept);
    const socket = this.inside(namespace, () => new NetlinkSocket(NETLINK_ROUTE));
    if (this.#keep.has(namespace)) {
      this.#kept.set(namespace, socket);
      return body(socket);
    }
    try {
      return body(socket);
    } finally {
      socket[Symbol.dispose]();
    }
  }

  /**
   * What a namespace holds; it must exist. See {@link joinVeths} for what spans two.
   *
   * @param wanted where given, of neighbours and guards only these are looked for: each would cost a search otherwise,
   *   the former through those of the whole machine
   */
  look(namespace: NamespaceName, wanted?: readonly KernelObject[]): NamespaceState {
    const here = wanted?.filter((object) => object.namespace === namespace);
    const guards = here?.filter((object) => object.kind === 'guard') ?? [];
    if (guards.length === 0) return this.withSocket(namespace, (socket) => observeNamespace(socket, namespace, here));
    using opened = new DisposableStack();
    // both at once: to enter a namespace costs as much as to look into it
    const [route, netfilter] = this.inside(namespace, () => [
      opened.use(new NetlinkSocket(NETLINK_ROUTE)),
      opened.use(new NetlinkSocket(NETLINK_NETFILTER)),
    ]);
    const state = observeNamespace(route, namespace, here);
    return {
      ...state,
      objects: [...state.objects, ...guards.flatMap((guard) => observeGuard(netfilter, guard) ?? [])],
    };
  }

  /** Those of the objects that are in the namespace, which must exist, whatever else it holds; no guards among them. */
  find(namespace: NamespaceName, objects: readonly KernelObject[]): NamespaceState {
    const here = objects.filter((object) => object.namespace === namespace || object.kind === 'veth');
    return this.withSocket(namespace, (socket) => findObjects(socket, namespace, here));
  }

  [Symbol.dispose](): void {
    for (const socket of this.#kept.values()) socket[Symbol.dispose]();
    this.#kept.clear();
    this.#home[Symbol.dispose]();
  }
}

/** Whether a deletion failed because there is nothing to delete. */
function isGone(error: unknown): boolean {
  const cause = error instanceof ApplyError ? error.cause : error;
  return cause instanceof SyscallError && ['ENODEV', 'ENOENT', 'ESRCH'].includes(cause.errnoName);
}
