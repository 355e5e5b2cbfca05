import { CulvertError } from '../errors.ts';
import type { Operation, Plan } from '../plan/diff.ts';
import { type KernelObject, type NamespaceName, ROOT } from '../plan/state.ts';
import { operationText } from '../plan/text.ts';
import { enterNewNamespace, NamespaceHandle, removeNamespace } from './namespace.ts';
import { NETLINK_ROUTE } from './netlink/constants.ts';
import { NetlinkSocket, type Request } from './netlink/socket.ts';
import { createGuard, deleteGuard, replaceGuard } from './nftables/guard.ts';
import { steps } from './requests.ts';
import { newVeth } from './route/veth.ts';
import { newVxlan } from './route/vxlan.ts';
import { writeSysctl } from './sysctl.ts';
import { createTap } from './tap.ts';

/** A plan that stopped half-way and what became of the half that was done. */
export class ApplyError extends CulvertError {
  override readonly name = 'ApplyError';
  /** What could not be undone; empty where nothing of the plan is left behind. */
  readonly leftovers: readonly unknown[];

  constructor(operation: string, cause: unknown, leftovers: readonly unknown[]) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const state = leftovers.length === 0 ? '' : `; ${leftovers.length} steps could not be undone`;
    super('apply_failed', `Cannot apply "${operation}": ${reason}${state}`, { cause });
    this.leftovers = leftovers;
  }
}

type RunParts = {
  /** path of a namespace's pin */
  readonly pin: (namespace: NamespaceName) => string;
  /** the root's */
  readonly home: NamespaceHandle;
  /** sockets that stay open */
  readonly kept: Map<NamespaceName, NetlinkSocket>;
  /** namespaces whose are to */
  readonly keep: ReadonlySet<NamespaceName>;
};

/** A message that waits to be sent, and what it is for. */
type Pending = { readonly request: Request; readonly operation: Operation };

/** One plan under way: what it opened, the messages not yet sent, and what it has created so far. */
export class PlanRun implements Disposable {
  readonly #parts: RunParts;
  readonly #own = new Map<NamespaceName, NetlinkSocket>();
  readonly #handles = new Map<NamespaceName, NamespaceHandle>();
  readonly #pending = new Map<NamespaceName, Pending[]>();
  /** Namespaces whose messages make links in others, so theirs are sent first. */
  readonly #bearing = new Set<NamespaceName>();
  readonly #created: Operation[] = [];
  /** Where the calling thread is: it goes from one to the next, and home in the end. */
  #here: NamespaceName = ROOT;

  constructor(parts: RunParts) {
    this.#parts = parts;
  }

  apply(plan: Plan): void {
    let current: Operation | undefined;
    try {
      for (const operation of plan) {
        current = operation;
        this.#perform(operation);
      }
      current = undefined;
      this.#flush();
    } catch (error) {
      const failed = error instanceof StepError ? error.operation : current;
      const cause = error instanceof StepError ? error.cause : error;
      throw new ApplyError(failed === undefined ? '' : operationText(failed), cause, this.#undo());
    }
  }

  [Symbol.dispose](): void {
    this.#goTo(ROOT);
    for (const socket of this.#own.values()) socket[Symbol.dispose]();
    for (const handle of this.#handles.values()) handle[Symbol.dispose]();
  }

  #perform(operation: Operation): void {
    const { verb, object } = operation;
    if (object.kind === 'namespace') {
      this.#flush();
      if (verb === 'delete') this.#removeNamespace(object.namespace);
      else this.#createNamespace(operation, object.namespace);
      return;
    }
    if (object.kind === 'guard') {
      // the link must be there
      this.#flush();
      const act = { create: createGuard, change: replaceGuard, delete: deleteGuard }[verb];
      this.#inside(object.namespace, () => act(object));
      if (verb === 'create') this.#created.push(operation);
      return;
    }
    if (object.kind === 'sysctl') {
      // what a plan creates by itself goes as a whole: there is no former value to bring back
      if (verb !== 'delete') this.#inside(object.namespace, () => writeSysctl(object.name, object.value));
      return;
    }
    if (verb === 'create' && object.kind === 'tap') {
      this.#inside(object.namespace, () => createTap(object.link));
      this.#created.push(operation);
    }
    if (verb === 'create' && object.kind === 'veth') {
      this.#add(object.namespace, newVeth(object, object.peer, this.#handle(object.peer.namespace).fd), operation);
      this.#bearing.add(object.namespace);
    }
    if (verb === 'create' && object.kind === 'vxlan') {
      // what waits may be the deletion of what has its name or index
      this.#flush();
      this.#add(object.outside, newVxlan(object, this.#handle(object.namespace).fd), operation);
      this.#bearing.add(object.outside);
    }
    for (const { namespace, request } of steps(operation)) this.#add(namespace, request, operation);
    if (verb !== 'delete' && object.kind === 'veth') {
      // what one end is set to leaves the other as it was
      for (const { namespace, request } of steps(fromPeer(operation))) this.#add(namespace, request, operation);
    }
  }

  #createNamespace(operation: Operation, namespace: NamespaceName): void {
    const { pin, home, kept, keep } = this.#parts;
    this.#goTo(ROOT);
    enterNewNamespace(pin(namespace), home);
    this.#here = namespace;
    this.#created.push(operation);
    (keep.has(namespace) ? kept : this.#own).set(namespace, new NetlinkSocket(NETLINK_ROUTE));
  }

  #removeNamespace(namespace: NamespaceName): void {
    this.#goTo(ROOT);
    for (const open of [this.#own, this.#parts.kept, this.#handles]) {
      open.get(namespace)?.[Symbol.dispose]();
      open.delete(namespace);
    }
    removeNamespace(this.#parts.pin(namespace));
  }

  #add(namespace: NamespaceName, request: Request, operation: Operation): void {
    const pending = this.#pending.get(namespace);
    if (pending === undefined) this.#pending.set(namespace, [{ request, operation }]);
    else pending.push({ request, operation });
  }

  /** Sends what waits. Every answer is read before the first failure is raised, so what was created is known. */
  #flush(): void {
    let failure: StepError | undefined;
    const first = [...this.#pending].filter(([namespace]) => this.#bearing.has(namespace));
    for (const [namespace, pending] of new Map([...first, ...this.#pending])) {
      const results = this.#socket(namespace).batch(pending.map(({ request }) => request));
      for (const [index, { operation }] of pending.entries()) {
        const error = results[index];
        if (error !== undefined) failure ??= new StepError(operation, error);
        else if (operation.verb === 'create' && this.#created.at(-1) !== operation) this.#created.push(operation);
      }
    }
    this.#pending.clear();
    this.#bearing.clear();
    if (failure !== undefined) throw failure;
  }

  #undo(): unknown[] {
    this.#pending.clear();
    const leftovers: unknown[] = [];
    const gone = new Set<NamespaceName>();
    const namespaces = new Set(
      this.#created.filter((c) => c.object.kind === 'namespace').map((c) => c.object.namespace),
    );
    for (const { object } of this.#created.toReversed()) {
      // inside a namespace that goes as a whole there is nothing to undo step by step
      if (object.kind !== 'namespace' && namespaces.has(object.namespace)) continue;
      if (gone.has(object.namespace)) continue;
      try {
        this.#perform({ verb: 'delete', object });
        this.#flush();
        if (object.kind === 'namespace') gone.add(object.namespace);
      } catch (error) {
        leftovers.push(error instanceof StepError ? error.cause : error);
        this.#pending.clear();
      }
    }
    return leftovers;
  }

  #socket(namespace: NamespaceName): NetlinkSocket {
    const { kept, keep } = this.#parts;
    const open = this.#own.get(namespace) ?? kept.get(namespace);
    if (open !== undefined) return open;
    const socket = this.#inside(namespace, () => new NetlinkSocket(NETLINK_ROUTE));
    (keep.has(namespace) ? kept : this.#own).set(namespace, socket);
    return socket;
  }

  #inside<T>(namespace: NamespaceName, body: () => T): T {
    this.#goTo(namespace);
    return body();
  }

  #goTo(namespace: NamespaceName): void {
    if (this.#here === namespace) return;
    this.#handle(namespace).enter();
    this.#here = namespace;
  }

  #handle(namespace: NamespaceName): NamespaceHandle {
    if (namespace === ROOT) return this.#parts.home;
    let handle = this.#handles.get(namespace);
    if (handle === undefined) {
      this.#handles.set(namespace, (handle = new NamespaceHandle(this.#parts.pin(namespace))));
    }
    return handle;
  }
}

/** Carries a failed message's operation up to where the plan is undone. */
class StepError extends Error {
  readonly operation: Operation;

  constructor(operation: Operation, cause: unknown) {
    super('step failed', { cause });
    this.operation = operation;
  }
}

/** The same operation as the pair's other end sees it. */
function fromPeer(operation: Operation): Operation {
  return operation.verb === 'change'
    ? { verb: 'change', object: swapEnds(operation.object), from: swapEnds(operation.from) }
    : { verb: operation.verb, object: swapEnds(operation.object) };
}

function swapEnds(object: KernelObject): KernelObject {
  if (object.kind !== 'veth') return object;
  const { kind, peer, ...near } = object;
  return { kind, ...peer, peer: near };
}
