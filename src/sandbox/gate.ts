import type { Ipv4 } from '../addr/ipv4.ts';
import { CulvertError } from '../errors.ts';
import type { NetlinkSocket, Request } from '../linux/netlink/socket.ts';
import { applyTransaction } from '../linux/nftables/batch.ts';
import { readGeneration } from '../linux/nftables/generation.ts';
import { areIntact } from '../linux/nftables/intact.ts';
import { removeRuleset, replaceRuleset } from '../linux/nftables/ruleset.ts';
import { SyscallError } from '../linux/syscall.ts';
import type { NamedSet, Ruleset, Table } from '../plan/ruleset.ts';
import { Books, type Standing } from './books.ts';
import type { Problem } from './event.ts';
import type { GroupName } from './group.ts';
import { Groups, type MemberNews } from './groups.ts';
import type { HostAccess, HostGuest } from './host/access.ts';
import { type Observed, observeFormer, observeSet, observeTables } from './observed-tables.ts';
import {
  additions,
  additionText,
  comparePlaced,
  deletion,
  type Numbers,
  type Pass,
  type Placed,
  placedElements,
  SETS,
} from './pass.ts';
import { type InstalledPolicy, removalOf } from './policies.ts';
import { HELD } from './ruleset/elements.ts';
import { OUTBOUND, ROUTER_TABLE } from './ruleset/names.ts';
import type { Layout } from './topology/layout.ts';
import { addressOf } from './topology/network.ts';

/** What leads from the tables as they are to what they should be. */
type Compared = { readonly requests: readonly Request[]; readonly changes: readonly string[]; readonly books: Books };

/**
 * Who passes the router, and where to: the elements of its tables. Each change is one transaction of nf_tables, takes
 * no RTNL lock, and costs the same however many sandboxes there are.
 */
export class Gate {
  readonly #socket: NetlinkSocket;
  readonly #layout: Layout;
  readonly #rulesets: readonly Ruleset[];
  readonly #hostAccess: HostAccess;
  readonly #groups = new Groups();
  #books: Books;
  /** of nf_tables in the router namespace, when it was last looked at and with what was done here since */
  #generation = 0;

  /**
   * @param socket of NETLINK_NETFILTER, in the router namespace
   * @param rulesets the router's tables as they are before there is a sandbox
   * @param hostAccess the part of it that stands in the root namespace
   */
  constructor(socket: NetlinkSocket, layout: Layout, rulesets: readonly Ruleset[], hostAccess: HostAccess) {
    this.#socket = socket;
    this.#layout = layout;
    this.#rulesets = rulesets;
    this.#hostAccess = hostAccess;
    this.#books = new Books(this.#layout);
  }

  /**
   * Brings the tables to these sandboxes and no others, in one transaction. Where the rules are of this version, only
   * the elements that differ are written, and none where none does.
   *
   * @returns what was put right, elements in the words of nft; empty where the tables were as they should be
   */
  restore(passes: readonly Pass[]): string[] {
    const { changes, books } = this.#bringTo(passes);
    this.#books = books;
    return [...changes, ...this.#hostAccess.restore(passes.map((pass) => this.#hostGuest(pass)))];
  }

  /** Whether somebody else has changed rules in the router namespace since they were last looked at: cheap to ask. */
  haveRulesChanged(): boolean {
    return readGeneration(this.#socket) !== this.#generation;
  }

  /** Each transaction that is done makes the kernel's number of them greater by one. */
  #transact(requests: readonly Request[]): void {
    applyTransaction(this.#socket, requests);
    this.#generation = (this.#generation + 1) >>> 0;
  }

  #bringTo(passes: readonly Pass[]): Compared {
    this.#generation = readGeneration(this.#socket);
    const compared = this.#compare(passes, observeTables(this.#socket, this.#rulesets));
    try {
      if (compared.requests.length > 0) this.#transact(compared.requests);
      return compared;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // Not all of what a table has was looked at, and something of that is in the way: it goes.
      const anew = this.#compare(passes, undefined);
      this.#transact(anew.requests);
      return anew;
    }
  }

  /**
   * Takes the tables over as an earlier run left them, without a look at their elements; {@link verifications} have
   * that. Where a table, or a policy that one of these needs, is not as it should be, it is all put right at once, as
   * {@link restore} does. Policies that nobody has go: what they say now, nobody knows.
   *
   * @param unfinished of the passes, those that may lack elements: they have them when this returns
   * @returns what was put right of the others
   */
  adopt(passes: readonly Pass[], unfinished: readonly Pass[]): string[] {
    const guests = passes.map((pass) => this.#hostGuest(pass));
    this.#generation = readGeneration(this.#socket);
    const former = observeFormer(this.#socket, this.#rulesets);
    const books = new Books(this.#layout);
    const requests: Request[] = [];
    books.policies.adopt(former?.policies ?? []);
    this.#groups.adopt(former?.groups ?? [], former?.far ?? [], groupsOf(passes));
    for (const pass of passes) books.enter(pass, requests, []);
    const idle = books.policies.dropUnknown();
    if (former === undefined || requests.length > 0 || unfinished.length > 0 || !this.#hasPolicies(books, [])) {
      return this.#besides(unfinished, passes.length, this.restore(passes));
    }
    this.#books = books;
    if (idle.length > 0) this.#transact(idle.map(removalOf).flatMap(removeRuleset));
    return this.#hostAccess.restore(guests);
  }

  /** Of what was put right, all but what the last run had no time for. */
  #besides(unfinished: readonly Pass[], passes: number, changes: readonly string[]): string[] {
    if (unfinished.length === passes) return [];
    const late = new Set([
      ...unfinished
        .flatMap(({ network }) => this.#books.standing.get(network.slot) ?? [])
        .flatMap((standing) => this.#placed(standing))
        .map(additionText),
      ...this.#hostAccess.additions(unfinished.map((pass) => this.#hostGuest(pass))),
    ]);
    // a policy that was missing shows in the elements of those that had it
    return changes.filter((change) => !late.has(change) && !/^(add|delete) policy /.test(change));
  }

  /** What {@link restore} does, in parts, a set of elements each; each returns what was put right in it. */
  verifications(): (() => string[])[] {
    return SETS.flatMap(({ table, sets }) => sets.map((set) => () => this.#verifySet(table, set)));
  }

  /** What {@link restore} would put right. */
  compare(passes: readonly Pass[]): string[] {
    return [
      ...this.#compare(passes, observeTables(this.#socket, this.#rulesets)).changes,
      ...this.#hostAccess.compare(passes.map((pass) => this.#hostGuest(pass))),
    ];
  }

  /** @throws SyscallError; then none of them passes */
  attach(passes: readonly Pass[]): void {
    if (passes.length === 0) return;
    const requests: Request[] = [];
    const added: InstalledPolicy[] = [];
    const placed = passes.flatMap((pass) => this.#placed(this.#books.enter(pass, requests, added)));
    try {
      this.#hostAccess.give(passes.map((pass) => this.#hostGuest(pass)));
      this.#transact([...requests, ...additions(placed)]);
    } catch (error) {
      // what was not answered may have been done: then all of it stands in the books, to be taken out again
      if (!(error instanceof SyscallError)) throw error;
      this.#hostAccess.take(passes.map(({ network }) => network.slot));
      for (const { network } of passes) this.#books.strike(network.slot);
      this.#books.policies.forget(added);
      throw error;
    }
  }

  /** Cuts the slots off, both ways, at once. A slot that is cut off already is no error. */
  detach(slots: readonly number[]): void {
    const placed = slots.flatMap((slot) => {
      const standing = this.#books.standing.get(slot);
      return standing === undefined ? [] : this.#placed(standing);
    });
    if (placed.length === 0) return;
    this.#transact(placed.flatMap(deletion));
    this.#hostAccess.take(slots);
    for (const slot of slots) this.#books.strike(slot);
    this.#groups.forgetUnused(() => groupsOf(this.#books.passes));
    const idle = this.#books.policies.dropIdle();
    if (idle.length > 0) this.#transact(idle.map(removalOf).flatMap(removeRuleset));
  }

  /**
   * Takes in who is in a group on other hosts.
   *
   * @returns addresses of those that were in one and are not any more
   */
  tellMembers(news: readonly MemberNews[]): readonly Ipv4[] {
    const { gone, come, left, done } = this.#groups.turn(news);
    const requests = [...gone.flatMap(deletion), ...additions(come)];
    if (requests.length > 0) this.#transact(requests);
    done();
    return left;
  }

  /** The group of each sandbox that is in one, here and elsewhere, by address. */
  groups(): (address: Ipv4) => GroupName | undefined {
    const here = new Map<Ipv4, GroupName>();
    for (const pass of this.#books.passes) {
      if (pass.group !== undefined) here.set(addressOf(pass.network, this.#layout), pass.group);
    }
    return (address) => here.get(address) ?? this.#groups.farGroupOf(address);
  }

  problems(): Problem[] {
    return this.#groups.problems();
  }

  /**
   * Gives a sandbox another policy in one step: no packet meets neither. Of the host's own addresses it reaches those of
   * the new policy a moment before.
   *
   * @throws CulvertError `not_attached`; SyscallError, then the former policy holds on
   * @throws AggregateError where that could not be said to the host's table again
   */
  change(pass: Pass): void {
    const { slot } = pass.network;
    const former = this.#books.standing.get(slot);
    if (former === undefined) {
      throw new CulvertError('not_attached', `Cannot change the policy of slot ${slot}: it is cut off`);
    }
    const requests = this.#placed(former).flatMap(deletion);
    const added: InstalledPolicy[] = [];
    const placed = this.#placed(this.#books.enter(pass, requests, added));
    let isGiven = false;
    try {
      this.#hostAccess.give([this.#hostGuest(pass)]);
      isGiven = true;
      this.#transact([...requests, ...additions(placed)]);
    } catch (error) {
      this.#books.strike(slot);
      this.#books.standing.set(slot, former);
      this.#books.policies.forget(added);
      if (isGiven) this.#giveBack(former.pass, error);
      throw error;
    }
    this.#books.policies.give(former.policy);
  }

  #giveBack(former: Pass, reason: unknown): void {
    try {
      this.#hostAccess.give([this.#hostGuest(former)]);
    } catch (error) {
      const what = `Cannot change a policy, nor have the host’s table as it was: run culvert reconcile`;
      throw new AggregateError([reason, error], what, { cause: error });
    }
  }

  /** What these sandboxes send is lost from now on, even of flows that are established; what is sent to them is not. */
  hold(slots: readonly number[]): void {
    this.#mark(slots, (standing) => ({ ...this.#numbers(standing), policy: HELD }));
  }

  /** Undoes {@link hold}. */
  resume(slots: readonly number[]): void {
    this.#mark(slots, (standing) => this.#numbers(standing));
  }

  #mark(slots: readonly number[], numbersOf: (standing: Standing) => Numbers): void {
    const standing = slots.flatMap((slot) => this.#books.standing.get(slot) ?? []);
    if (standing.length === 0) return;
    const isOutbound = ({ set }: Placed): boolean => set === OUTBOUND;
    const former = standing.flatMap((one) => this.#placed(one)).filter(isOutbound);
    const next = standing.flatMap((one) => placedElements(one.pass, numbersOf(one), this.#layout)).filter(isOutbound);
    this.#transact([...former.flatMap(deletion), ...additions(next)]);
  }

  #verifySet(table: Table, set: NamedSet): string[] {
    const present = observeSet(this.#socket, table, set);
    const isOfSet = (one: Placed): boolean => one.table === table && one.set === set;
    const wanted = [...this.#books.standing.values()].flatMap((standing) => this.#placed(standing).filter(isOfSet));
    wanted.push(...this.#groups.placed().filter(isOfSet));
    const { requests, changes } = comparePlaced(present, wanted);
    if (requests.length > 0) this.#transact(requests);
    return changes;
  }

  /** @param observed undefined where the tables are to be made anew, whatever they hold */
  #compare(passes: readonly Pass[], observed: Observed | undefined): Compared {
    const requests: Request[] = [];
    const books = new Books(this.#layout);
    if (observed === undefined) requests.push(...this.#rulesets.flatMap(replaceRuleset));
    else books.policies.adopt(observed.policies, this.#books.policies);
    const added: InstalledPolicy[] = [];
    const wanted = passes.flatMap((pass) => this.#placed(books.enter(pass, requests, added)));
    wanted.push(...this.#groups.placed());
    const idle = books.policies.dropUnknown();
    requests.push(...idle.map(removalOf).flatMap(removeRuleset));
    if (observed !== undefined && !this.#hasPolicies(books, added)) return this.#compare(passes, undefined);
    const compared = comparePlaced(observed?.placed ?? [], wanted);
    requests.push(...compared.requests);
    const changes = [
      ...(observed === undefined
        ? ['replace the tables of the router']
        : added.map(({ number }) => `add policy ${number}`)),
      ...idle.map(({ number }) => `delete policy ${number}`),
      ...compared.changes,
    ];
    return { requests, changes, books };
  }

  /** Whether the router's table has of policies what the books say, but for those that are to be added. */
  #hasPolicies(books: Books, added: readonly InstalledPolicy[]): boolean {
    return areIntact(this.#socket, ROUTER_TABLE, books.policies.rulesets(added));
  }

  #placed(standing: Standing): Placed[] {
    return placedElements(standing.pass, this.#numbers(standing), this.#layout);
  }

  #numbers({ pass, policy }: Standing): Numbers {
    const { group } = pass;
    return { policy: policy.number, ...(group === undefined ? {} : { group: this.#groups.numberOf(group) }) };
  }

  #hostGuest({ network, policy, owner }: Pass): HostGuest {
    return { slot: network.slot, address: addressOf(network, this.#layout), policy, owner };
  }
}

function groupsOf(passes: readonly Pass[]): ReadonlySet<GroupName> {
  return new Set(passes.flatMap(({ group }) => group ?? []));
}
