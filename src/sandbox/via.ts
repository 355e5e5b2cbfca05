import { CulvertError, InputError } from '../errors.ts';
import type { GroupName } from './group.ts';
import type { Specification } from './sandbox.ts';

/** The WireGuard tunnel that a sandbox leaves by: its own one, or that of all of its group on this host. */
export type Via = {
  /** as the host's administrator has named it */
  readonly tunnel: string;
  /** 1 to {@link VIA_MAX}, of this host: it stands in the name of the link; 0 where it is yet to be given */
  readonly number: number;
};

/** Twelve bits of a packet's mark, less the value that says that nothing passes. */
const VIA_MAX = 4094;

/** `.` and `..` are folders. */
const TUNNEL = /^(?!\.{1,2}$)[a-zA-Z0-9_=+.-]{1,15}$/;

/** The name of a tunnel's file, without `.conf`. @throws InputError `invalid_via` */
export function parseVia(text: string): string {
  if (TUNNEL.test(text)) return text;
  const shown = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
  const want = 'want 1 to 15 of a-z, A-Z, 0-9, _, =, +, . and -';
  throw new InputError('invalid_via', `Cannot use ${shown} as a tunnel: ${want}`, { field: 'via' });
}

/** The link of a tunnel, in the namespace of the sandbox or in the router's. */
export function viaLink(number: number): string {
  return `via-${number}`;
}

/** Whether that is what it is called: another program may have one of such a name in another place. */
export function isViaLink(name: string): boolean {
  return /^via-\d{1,4}$/.test(name);
}

/** The number of a tunnel that is a sandbox's own: no router sees what leaves by it. */
export function ownVia({ via, group }: Pick<Specification, 'via' | 'group'>): number | undefined {
  return group === undefined ? via?.number : undefined;
}

/** The number of the tunnel of a whole group. */
export function groupVia({ via, group }: Pick<Specification, 'via' | 'group'>): number | undefined {
  return group === undefined ? undefined : via?.number;
}

/**
 * What leaves by a sandbox's own tunnel no router sees, and so holds to nothing; what a virtual machine gets passes its
 * namespace, where it has no say.
 *
 * @throws InputError `via_policy`, `via_rates`
 */
export function assertVia(specification: Specification): void {
  if (ownVia(specification) === undefined) return;
  const { policy, rates, topology } = specification;
  const instead = 'what leaves by its own tunnel no router sees; leave it out, or give its group a tunnel';
  if (policy.egress !== 'none' || policy.allow.length > 0) {
    const message = `Cannot have a policy for a sandbox that leaves by a tunnel: ${instead}`;
    throw new InputError('via_policy', message, { field: 'policy' });
  }
  if (rates.transmit !== undefined || (rates.receive !== undefined && topology !== 'microvm')) {
    const field = rates.transmit === undefined ? 'rates.receive' : 'rates.transmit';
    const message = `Cannot hold a sandbox that leaves by a tunnel to ${field}: ${instead}`;
    throw new InputError('via_rates', message, { field });
  }
}

type User = Pick<Specification, 'via' | 'group'>;
type Tunnel = { readonly number: number; readonly group: GroupName | undefined; users: number };
type Group = { readonly tunnel: string | undefined; users: number };

/**
 * Which tunnels the sandboxes of this host leave by. A tunnel is one sandbox's or one group's, since a WireGuard key
 * works in one place at a time; and those of a group all leave by the same.
 */
export class Vias {
  readonly #tunnels = new Map<string, Tunnel>();
  readonly #groups = new Map<GroupName, Group>();

  enter({ via, group }: User): void {
    if (group !== undefined) {
      const known = this.#groups.get(group);
      if (known === undefined) this.#groups.set(group, { tunnel: via?.tunnel, users: 1 });
      else known.users++;
    }
    if (via === undefined) return;
    const known = this.#tunnels.get(via.tunnel);
    if (known === undefined) this.#tunnels.set(via.tunnel, { number: via.number, group, users: 1 });
    else known.users++;
  }

  leave({ via, group }: User): void {
    if (group !== undefined) release(this.#groups, group);
    if (via !== undefined) release(this.#tunnels, via.tunnel);
  }

  /**
   * The same specifications, with the numbers that their tunnels have; nothing is entered yet.
   *
   * @throws InputError `via_taken`, `via_group`; CulvertError `via_exhausted`
   */
  assign(specifications: readonly Specification[]): Specification[] {
    const isPlain = ({ via, group }: User): boolean =>
      via === undefined && (group === undefined || this.#groups.get(group)?.tunnel === undefined);
    if (specifications.every(isPlain)) return [...specifications];
    const trial = this.#copy();
    return specifications.map((specification) => {
      const assigned = trial.#assignOne(specification);
      trial.enter(assigned);
      return assigned;
    });
  }

  /** Of a sandbox that runs: it cannot go over to another tunnel. @throws InputError `via_group` */
  assertMayMove(former: User, { group }: User): void {
    if (former.group === group) return;
    const tunnel = former.via?.tunnel ?? (group === undefined ? undefined : this.#groups.get(group)?.tunnel);
    if (tunnel === undefined) return;
    const message = `Cannot change the group of a sandbox where one of the two leaves by a tunnel (${tunnel}): create another sandbox`;
    throw new InputError('via_group', message, { field: 'group' });
  }

  #copy(): Vias {
    const copy = new Vias();
    for (const [name, tunnel] of this.#tunnels) copy.#tunnels.set(name, { ...tunnel });
    for (const [name, group] of this.#groups) copy.#groups.set(name, { ...group });
    return copy;
  }

  #assignOne(specification: Specification): Specification {
    const { via, group } = specification;
    const of = group === undefined ? undefined : this.#groups.get(group);
    if (of !== undefined && of.tunnel !== via?.tunnel) {
      const want = of.tunnel === undefined ? 'leave it out' : `say --via ${of.tunnel}`;
      const found = of.tunnel === undefined ? 'by none' : `by ${of.tunnel}`;
      const what = via === undefined ? 'without a tunnel' : `by tunnel ${via.tunnel}`;
      const message = `Cannot leave ${what}: others of group ${group} on this host leave ${found}; ${want}`;
      throw new InputError('via_group', message, { field: 'via' });
    }
    if (via === undefined) return specification;
    const known = this.#tunnels.get(via.tunnel);
    if (known === undefined) return { ...specification, via: { ...via, number: this.#freeNumber() } };
    if (group === undefined || known.group !== group) {
      const whose = known.group === undefined ? 'another sandbox' : `group ${known.group}`;
      const message = `Cannot leave by tunnel ${via.tunnel}: it is that of ${whose}, and a WireGuard key works in one place at a time`;
      throw new InputError('via_taken', message, { field: 'via' });
    }
    return { ...specification, via: { ...via, number: known.number } };
  }

  #freeNumber(): number {
    const taken = new Set([...this.#tunnels.values()].map(({ number }) => number));
    for (let number = 1; number <= VIA_MAX; number++) if (!taken.has(number)) return number;
    throw new CulvertError('via_exhausted', `Cannot have one more tunnel: this host has ${VIA_MAX}`);
  }
}

function release<K>(all: Map<K, { users: number }>, name: K): void {
  const known = all.get(name);
  if (known !== undefined && --known.users === 0) all.delete(name);
}
