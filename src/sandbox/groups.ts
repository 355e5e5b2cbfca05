import type { Ipv4 } from '../addr/ipv4.ts';
import type { Generation, SandboxId } from '../ipam/lease.ts';
import type { Element } from '../plan/ruleset.ts';
import type { Problem } from './event.ts';
import { type GroupName, memberComment, readMemberComment } from './group.ts';
import { type Placed, placedMember } from './pass.ts';
import { FAR_GROUPS, FAR_MEMBERS, FAR_MEMBERS_MAX } from './ruleset/names.ts';

/** A sandbox of this host, as those in its group may know it; without a group it is in none any more. */
export type OwnMember = {
  readonly id: SandboxId;
  readonly generation: Generation;
  readonly address: Ipv4;
  readonly group?: GroupName;
};

/** What other hosts tell of a group that this one has a part in. */
export type MemberNews = {
  readonly group: GroupName;
  /** whether those that are not named are no more */
  readonly isAll: boolean;
  /** By address, each with who has it, such as `a1 on h2`; undefined for one that has left. */
  readonly members: readonly { readonly address: Ipv4; readonly owner: string | undefined }[];
};

type Member = { readonly group: GroupName; readonly owner: string };

/** What leads from the members that the table has to those that are told of. */
type Turn = {
  readonly gone: readonly Placed[];
  readonly come: readonly Placed[];
  /** addresses that are in no group now, or in another */
  readonly left: readonly Ipv4[];
  /** Takes it into the books, once it is done. */
  readonly done: () => void;
};

/** Numbers of groups that are remembered beyond those in use: few enough to look through. */
const MAX_REMEMBERED = 1024;

/** The groups of the router's table: their numbers, which are this host's own, and who is in them on other hosts. */
export class Groups {
  readonly #numbers = new Map<GroupName, number>();
  readonly #far = new Map<Ipv4, Member>();
  /** Those that there was no room for. */
  readonly #refused = new Map<Ipv4, Member>();
  #last = 0;
  readonly #room: number;

  /** @param room for sandboxes of other hosts */
  constructor(room = FAR_MEMBERS_MAX) {
    this.#room = room;
  }

  /**
   * Takes over what a table has. Who was in a group when an earlier run ended is in it until it is told otherwise.
   *
   * @param own the groups that sandboxes of this host are in
   */
  adopt(groups: readonly Element[], far: readonly Element[], own: ReadonlySet<GroupName>): void {
    const taken = new Set(this.#numbers.values());
    for (const element of [...groups, ...far]) this.#adoptNumber(element, taken);
    for (const { key, data, comment } of far) {
      const [address] = key;
      const member = readMemberComment(comment);
      if (typeof address !== 'number' || member === undefined || !own.has(member.group)) continue;
      if (this.#numbers.get(member.group) === numberIn(data)) this.#far.set(address as Ipv4, member);
    }
  }

  #adoptNumber({ data, comment }: Element, taken: Set<number>): void {
    const group = readMemberComment(comment)?.group;
    const number = numberIn(data);
    if (group === undefined || number === undefined || this.#numbers.has(group)) return;
    // two groups of one number would be one
    if (taken.has(number)) return;
    taken.add(number);
    this.#numbers.set(group, number);
    this.#last = Math.max(this.#last, number);
  }

  numberOf(group: GroupName): number {
    const known = this.#numbers.get(group);
    if (known !== undefined) return known;
    this.#numbers.set(group, ++this.#last);
    return this.#last;
  }

  /** Lets go of numbers that nobody has, where there are many. @param own as for {@link adopt} */
  forgetUnused(own: () => ReadonlySet<GroupName>): void {
    if (this.#numbers.size <= MAX_REMEMBERED) return;
    const used = new Set([...own(), ...[...this.#far.values()].map(({ group }) => group)]);
    if (this.#numbers.size <= used.size + MAX_REMEMBERED) return;
    for (const group of this.#numbers.keys()) if (!used.has(group)) this.#numbers.delete(group);
  }

  /** What of the members on other hosts should stand in the table. */
  placed(): Placed[] {
    return [...this.#far].flatMap(([address, member]) => this.#place(address, member));
  }

  /** The group of a sandbox on another host. */
  farGroupOf(address: Ipv4): GroupName | undefined {
    return this.#far.get(address)?.group;
  }

  turn(news: readonly MemberNews[]): Turn {
    const next = new Map<Ipv4, Member | undefined>();
    const now = (address: Ipv4): Member | undefined =>
      next.has(address) ? next.get(address) : (this.#far.get(address) ?? this.#refused.get(address));
    for (const { group, isAll, members } of news) {
      const named = new Map(members.map(({ address, owner }) => [address, owner]));
      if (isAll) {
        for (const address of [...this.#far.keys(), ...this.#refused.keys(), ...next.keys()])
          if (now(address)?.group === group && !named.has(address)) next.set(address, undefined);
      }
      for (const [address, owner] of named) {
        if (owner !== undefined) next.set(address, { group, owner });
        // one that has joined another is told of there
        else if (now(address)?.group === group) next.set(address, undefined);
      }
    }
    return this.#turnTo(next);
  }

  problems(): Problem[] {
    if (this.#refused.size === 0) return [];
    const message = `${this.#refused.size} sandboxes of other hosts are not reached by those of their group: there is room for ${this.#room}`;
    return [{ code: 'members_limit', message }];
  }

  #turnTo(next: ReadonlyMap<Ipv4, Member | undefined>): Turn {
    const changed = [...next].filter(([address, member]) => !isSame(this.#far.get(address), member));
    const former = changed.flatMap(([address]) => {
      const member = this.#far.get(address);
      return member === undefined ? [] : [[address, member] as const];
    });
    let room = this.#room - this.#far.size + former.length;
    const refused = new Map([...this.#refused].filter(([address]) => !next.has(address)));
    const wanted = changed.flatMap(([address, member]) => (member === undefined ? [] : [[address, member] as const]));
    const waiting = [...wanted, ...refused];
    const come = waiting.filter(() => room-- > 0);
    return {
      gone: former.flatMap(([address, member]) => this.#place(address, member)),
      come: come.flatMap(([address, member]) => this.#place(address, member)),
      left: former.filter(([address, { group }]) => next.get(address)?.group !== group).map(([address]) => address),
      done: () => {
        for (const [address] of former) this.#far.delete(address);
        for (const [address, member] of come) this.#far.set(address, member);
        this.#refused.clear();
        for (const [address, member] of waiting.slice(come.length)) this.#refused.set(address, member);
      },
    };
  }

  #place(address: Ipv4, { group, owner }: Member): Placed[] {
    const comment = memberComment(owner, group);
    return placedMember({ groups: FAR_GROUPS, members: FAR_MEMBERS }, address, this.numberOf(group), comment);
  }
}

function numberIn(data: Element['data']): number | undefined {
  const number = Array.isArray(data) ? data[0] : undefined;
  return typeof number === 'number' ? number : undefined;
}

function isSame(one: Member | undefined, other: Member | undefined): boolean {
  return one?.group === other?.group && one?.owner === other?.owner;
}
