import type { Ipv4 } from '../../addr/ipv4.ts';
import { followGroup, type GroupChange, type GroupMember } from '../../cluster/group.ts';
import { OwnMembers } from '../../cluster/own-members.ts';
import type { Lease, Registry } from '../../cluster/registry.ts';
import type { Problem } from '../../sandbox/event.ts';
import type { GroupName } from '../../sandbox/group.ts';
import type { MemberNews, OwnMember } from '../../sandbox/groups.ts';
import type { Directory } from '../groups/directory.ts';

export type MembershipsParts = {
  readonly registry: Registry;
  /** the name of this one */
  readonly host: string;
  /** of the hold; undefined where the host is not in the cluster now */
  readonly lease: () => Lease | undefined;
  /** whether an address is of a host's subnet */
  readonly isOf: (host: string, address: Ipv4) => boolean;
  readonly directory: Directory;
  /** Takes in who is in a group on other hosts. */
  readonly tell: (news: readonly MemberNews[]) => Promise<void>;
};

/** How long after a failure it is tried again. */
const RETRY_MS = 1000;

/** A group that a sandbox of this host is in. */
type Followed = {
  readonly end: AbortController;
  /** own sandboxes in it, by id */
  readonly own: Set<string>;
  /** those of other hosts, by host and id */
  readonly far: Map<string, GroupMember>;
  /** Those of them that count: the address is of their host. */
  readonly told: Map<string, GroupMember>;
  /** Whose an address is, of those that count. */
  readonly byAddress: Map<Ipv4, GroupMember>;
  /** whether the registry has said who there is */
  isKnown: boolean;
  /** whether the engine was told so */
  isTold: boolean;
};

/**
 * The groups that this host has a part in: others are told of its own sandboxes, and of theirs are heard those in the same
 * groups, and no others.
 */
export class Memberships {
  readonly #parts: MembershipsParts;
  readonly #ownMembers: OwnMembers;
  readonly #groupOf = new Map<string, GroupName>();
  readonly #followed = new Map<GroupName, Followed>();
  /** What the engine has not taken yet. */
  readonly #owed = new Map<GroupName, { isAll: boolean; readonly members: Map<Ipv4, string | undefined> }>();
  #areHostsKnown = false;
  #isTelling = false;
  #isStopped = false;
  readonly #unheard = new Map<GroupName, string>();
  #failure: string | undefined;

  constructor(parts: MembershipsParts) {
    this.#parts = parts;
    const { registry, host, lease } = parts;
    this.#ownMembers = new OwnMembers({ registry, host, lease });
  }

  /** Takes in who of this host comes into a group or leaves one. */
  takeOwn(members: readonly OwnMember[]): void {
    this.#ownMembers.take(members);
    for (const { id, group } of members) {
      const former = this.#groupOf.get(id);
      if (former === group) continue;
      if (former !== undefined) this.#leave(id, former);
      if (group !== undefined) this.#enter(id, group);
    }
  }

  /** A lease has taken the place of another, or the host is in the cluster again. */
  leased(): void {
    this.#ownMembers.writeAll();
  }

  /** All hosts are known: before, nobody's address can be told to be its host's. */
  hostsKnown(): void {
    this.#areHostsKnown = true;
    for (const [group, { isKnown, isTold, far }] of this.#followed) {
      if (isKnown && !isTold) this.#judge(group, [...far.values()]);
    }
  }

  /** What is known of this host has changed. */
  hostChanged(host: string): void {
    for (const [group, { far, isTold }] of this.#followed) {
      if (!isTold) continue;
      const changes = [...far.values()].filter((member) => member.host === host);
      if (changes.length > 0) this.#judge(group, changes);
    }
  }

  problems(): Problem[] {
    const unheard = [...this.#unheard].map(([group, why]) => `of group ${group} is not heard who is in it: ${why}`);
    const { failure } = this.#ownMembers;
    if (failure !== undefined) unheard.push(`other hosts are not told who of this one is in a group: ${failure}`);
    if (this.#failure !== undefined) unheard.push(`the rules do not know all of other hosts: ${this.#failure}`);
    return unheard.map((message) => ({ code: 'groups_behind', message: `Groups are not up to date: ${message}` }));
  }

  /** @param keeps where the sandboxes live on @throws CulvertError `registry_*` */
  async stop(options: { readonly keeps: boolean }): Promise<void> {
    this.#isStopped = true;
    for (const { end } of this.#followed.values()) end.abort();
    await this.#ownMembers.stop(options);
  }

  #enter(id: string, group: GroupName): void {
    this.#groupOf.set(id, group);
    const known = this.#followed.get(group);
    if (known !== undefined) {
      known.own.add(id);
      return;
    }
    const followed = {
      end: new AbortController(),
      own: new Set([id]),
      far: new Map(),
      told: new Map(),
      byAddress: new Map(),
      isKnown: false,
      isTold: false,
    };
    this.#followed.set(group, followed);
    this.#parts.directory.setHeard(group, false);
    void this.#follow(group, followed);
  }

  #leave(id: string, group: GroupName): void {
    this.#groupOf.delete(id);
    const followed = this.#followed.get(group);
    if (followed === undefined) return;
    followed.own.delete(id);
    if (followed.own.size > 0) return;
    this.#followed.delete(group);
    this.#parts.directory.setHeard(group, true);
    this.#unheard.delete(group);
    followed.end.abort();
    for (const { host, id: far } of followed.told.values()) {
      this.#parts.directory.takeFar({ group, host, id: far }, undefined);
    }
    this.#owe(group, true, []);
  }

  async #follow(group: GroupName, followed: Followed): Promise<void> {
    const { signal } = followed.end;
    try {
      const changed = (changes: readonly GroupChange[], isAll: boolean): void => {
        this.#unheard.delete(group);
        this.#take(group, followed, changes, isAll);
      };
      await followGroup(this.#parts.registry, group, changed, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#unheard.set(group, error instanceof Error ? error.message : String(error));
      setTimeout(() => {
        if (!signal.aborted) void this.#follow(group, followed);
      }, RETRY_MS).unref();
    }
  }

  #take(group: GroupName, followed: Followed, changes: readonly GroupChange[], isAll: boolean): void {
    const foreign = changes.filter(({ host }) => host !== this.#parts.host);
    const named = new Set(foreign.map(keyOf));
    const gone = isAll ? [...followed.far.values()].filter((member) => !named.has(keyOf(member))) : [];
    for (const member of gone) followed.far.delete(keyOf(member));
    for (const change of foreign) {
      if (change.member === undefined) followed.far.delete(keyOf(change));
      else followed.far.set(keyOf(change), change.member);
    }
    followed.isKnown ||= isAll;
    if (this.#areHostsKnown && followed.isKnown) this.#judge(group, [...gone, ...foreign]);
  }

  /** Of these it is said anew whether they count; the first are all that there are. */
  #judge(group: GroupName, members: readonly { readonly host: string; readonly id: string }[]): void {
    const followed = this.#followed.get(group);
    if (followed === undefined) return;
    const isAll = !followed.isTold;
    followed.isTold = true;
    const { told, byAddress } = followed;
    const changes: [Ipv4, string | undefined][] = [];
    for (const one of members) {
      const key = keyOf(one);
      const former = told.get(key);
      const next = this.#counted(followed, key);
      if (former?.address === next?.address) continue;
      if (former !== undefined && byAddress.get(former.address) === former) {
        byAddress.delete(former.address);
        changes.push([former.address, undefined]);
      }
      if (next === undefined) told.delete(key);
      else {
        told.set(key, next);
        byAddress.set(next.address, next);
        changes.push([next.address, ownerOf(next)]);
      }
      this.#parts.directory.takeFar({ group, host: one.host, id: one.id }, next?.address);
    }
    if (changes.length > 0 || isAll) this.#owe(group, isAll, changes);
    if (isAll) this.#parts.directory.setHeard(group, true);
  }

  /** One whose address is its host's, and nobody's of a later life. */
  #counted({ far, byAddress }: Followed, key: string): GroupMember | undefined {
    const found = far.get(key);
    if (found === undefined || !this.#parts.isOf(found.host, found.address)) return undefined;
    const holder = byAddress.get(found.address);
    return holder === undefined || holder.generation <= found.generation ? found : undefined;
  }

  #owe(group: GroupName, isAll: boolean, changes: readonly (readonly [Ipv4, string | undefined])[]): void {
    const owed = isAll ? undefined : this.#owed.get(group);
    const members = owed?.members ?? new Map<Ipv4, string | undefined>();
    for (const [address, owner] of changes) members.set(address, owner);
    this.#owed.set(group, { isAll: isAll || owed?.isAll === true, members });
    if (!this.#isTelling) void this.#tell();
  }

  /** One call after the other; what comes meanwhile goes together. */
  async #tell(): Promise<void> {
    this.#isTelling = true;
    while (this.#owed.size > 0 && !this.#isStopped) {
      const owed = [...this.#owed];
      this.#owed.clear();
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await this.#parts.tell(
          owed.map(([group, { isAll, members }]) => ({
            group,
            isAll,
            members: [...members].map(([address, owner]) => ({ address, owner })),
          })),
        );
        this.#failure = undefined;
      } catch (error) {
        this.#failure = error instanceof Error ? error.message : String(error);
        for (const [group] of owed) this.#oweAll(group);
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await new Promise((resolve) => void setTimeout(resolve, RETRY_MS).unref());
      }
    }
    this.#isTelling = false;
  }

  /** What was not taken, nobody knows in part: it is told as it is now. */
  #oweAll(group: GroupName): void {
    const told = this.#followed.get(group)?.byAddress.values() ?? [];
    const members = new Map([...told].map((member) => [member.address, ownerOf(member)] as const));
    this.#owed.set(group, { isAll: true, members });
  }
}

function ownerOf({ id, host }: GroupMember): string {
  return `${id} on ${host}`;
}

function keyOf({ host, id }: { readonly host: string; readonly id: string }): string {
  return `${host}/${id}`;
}
