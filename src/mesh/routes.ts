import type { Ip } from '../addr/ip.ts';
import type { Ipv4 } from '../addr/ipv4.ts';
import type { Prefix } from '../addr/prefix.ts';
import type { Kernel } from '../linux/apply.ts';
import { diff, type Operation, type Plan } from '../plan/diff.ts';
import { type KernelObject, type Link, ROUTER } from '../plan/state.ts';
import { planText } from '../plan/text.ts';
import type { Terms } from './tunnel.ts';

export type Route = Extract<KernelObject, { kind: 'route' }>;

/** What becomes of a route; absent where there was, or is to be, none. */
export type RouteTurn = { readonly former: Route | undefined; readonly next: Route | undefined };

/** 0.0.0.0/32: no route leads there. */
const NOWHERE: Prefix = { address: 0 as Ipv4, length: 32 };

/** The routes to other hosts' subnets, each by the way that its host is sent to. */
export class MeshRoutes {
  readonly #kernel: Kernel;
  readonly #links: readonly Link[];
  /** by the first address of the subnet */
  readonly #wanted = new Map<Ip, Route>();

  /** @param links that lead to other hosts: what goes over them is all of it a route of these */
  constructor(kernel: Kernel, links: readonly Link[]) {
    this.#kernel = kernel;
    this.#links = links;
  }

  get wanted(): ReadonlyMap<Ip, Route> {
    return this.#wanted;
  }

  /** Those that are there, by whatever way. */
  read(): Route[] {
    const any = this.#links.map((link): Route => ({ kind: 'route', namespace: ROUTER, destination: NOWHERE, link }));
    return this.#kernel.find(ROUTER, any).objects.filter((object) => object.kind === 'route');
  }

  /**
   * Turns routes into others, each in one step: no packet finds none.
   *
   * @returns what was done, in the words of ip(8)
   */
  update(turns: readonly RouteTurn[]): string[] {
    this.note(turns);
    const plan = turns.flatMap(({ former, next }) => operations(former, next));
    const ordered = [...plan.filter(({ verb }) => verb === 'delete'), ...plan.filter(({ verb }) => verb !== 'delete')];
    this.#kernel.apply(ordered);
    return ordered.flatMap((one) => planText([one]));
  }

  /** Is only to know them: what is not there is put right with everything else. */
  note(turns: readonly RouteTurn[]): void {
    for (const { former } of turns) if (former !== undefined) this.#wanted.delete(former.destination.address);
    for (const { next } of turns) if (next !== undefined) this.#wanted.set(next.destination.address, next);
  }

  /** Puts right what others have changed; where nothing was, nothing is written. */
  reconcile({ removes, dryRun = false }: Terms): string[] {
    const plan = this.#plan().filter(({ verb }) => removes || verb !== 'delete');
    if (!dryRun) this.#kernel.apply(plan);
    return plan.length === 0 ? [] : planText(plan).split('\n');
  }

  #plan(): Plan {
    const seen = this.read();
    const isWhole =
      seen.length === this.#wanted.size &&
      seen.every((route) => isSameRoute(route, this.#wanted.get(route.destination.address)));
    // mostly it is, and with five thousand hosts a plan costs more than a look
    return isWhole ? [] : diff(seen, [...this.#wanted.values()]);
  }
}

/** Part by part: what compares any two objects takes a microsecond for each of thousands. */
function isSameRoute(seen: Route, wanted: Route | undefined): boolean {
  if (wanted === undefined || seen.via !== wanted.via || seen.source !== wanted.source) return false;
  if (seen.mtu !== wanted.mtu || seen.onlink !== wanted.onlink || seen.table !== wanted.table) return false;
  const [one, other] = [seen.destination, wanted.destination];
  return one.address === other.address && one.length === other.length && seen.link.index === wanted.link.index;
}

function operations(former: Route | undefined, next: Route | undefined): Operation[] {
  const plan = diff(former === undefined ? [] : [former], next === undefined ? [] : [next]);
  // an earlier run may have made it
  return plan.map((one) => (one.verb === 'create' ? { ...one, verb: 'change', from: one.object } : one));
}
