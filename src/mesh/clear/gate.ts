import type { NetlinkSocket, Request } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { deleteElements, newElements } from '../../linux/nftables/element.ts';
import { readGeneration } from '../../linux/nftables/generation.ts';
import { isIntact } from '../../linux/nftables/intact.ts';
import { observeTable } from '../../linux/nftables/observe.ts';
import { replaceRuleset } from '../../linux/nftables/ruleset.ts';
import { deleteTable } from '../../linux/nftables/table.ts';
import type { Element, NamedSet, Ruleset, SetElements, Table } from '../../plan/ruleset.ts';
import { elementText } from '../../plan/ruleset-text.ts';
import type { Terms } from '../tunnel.ts';
import { DIRECT, WRAPPED } from './ruleset.ts';

/** The elements of both sets, each by its key. */
type Elements = ReadonlyMap<NamedSet, Map<string, Element>>;

type Difference = { readonly set: NamedSet; readonly gone: readonly Element[]; readonly come: readonly Element[] };

/** The rules of what comes in clear, and who of the others is in their sets. */
export class ClearGate {
  readonly #socket: NetlinkSocket;
  readonly #ruleset: Ruleset;
  /** What the sets have; undefined before that was looked at. */
  #standing: Elements | undefined;
  /** What they were last brought to, and since then have had. */
  #brought: readonly SetElements[] | undefined;
  /** of nf_tables in the root namespace, when it was last looked at and with what was done here since */
  #generation = 0;

  /** @param socket of NETLINK_NETFILTER, in the root namespace */
  constructor(socket: NetlinkSocket, ruleset: Ruleset) {
    this.#socket = socket;
    this.#ruleset = ruleset;
  }

  /** Whether somebody has changed rules, whatever they are, since they were last looked at: cheap to ask. */
  haveChanged(): boolean {
    return this.#standing === undefined || readGeneration(this.#socket) !== this.#generation;
  }

  /** Whether the sets have all of these. */
  has(elements: readonly SetElements[]): boolean {
    const standing = this.#standing ?? this.#observe();
    return [...collect(elements)].every(([set, all]) => [...all.keys()].every((key) => standing.get(set)?.has(key)));
  }

  /** Brings rules and sets to what they should be, and says what was otherwise, in the words of nft(8). */
  bringTo(wanted: readonly SetElements[], { removes, dryRun = false }: Terms): string[] {
    const { table } = this.#ruleset;
    if (wanted === this.#brought && !this.haveChanged()) return [];
    const generation = readGeneration(this.#socket);
    const isSeen = this.#standing !== undefined && generation === this.#generation;
    const isWhole = isSeen || isIntact(this.#socket, this.#ruleset);
    const standing = (isSeen ? this.#standing : undefined) ?? this.#observe();
    const differences = differ(standing, collect(wanted)).map((one) => (removes ? one : { ...one, gone: [] }));
    if (!dryRun) {
      this.#generation = generation;
      this.#standing = standing;
      this.#brought = undefined;
      this.#write(isWhole ? requestsOf(table, differences) : this.#anew(applied(copyOf(standing), differences)));
      applied(standing, differences);
      this.#brought = removes ? wanted : undefined;
    }
    return [...(isWhole ? [] : [`replace table ${table.family} ${table.name}`]), ...texts(table, differences)];
  }

  /** Takes elements out and puts others in; nothing where what is in the sets is not known. */
  exchange(former: readonly SetElements[], next: readonly SetElements[]): string[] {
    const standing = this.#standing;
    if (standing === undefined) return [];
    const differences = differ(collect(former), collect(next)).map(({ set, gone, come }) => ({
      set,
      gone: gone.filter((element) => standing.get(set)?.has(keyOf(element)) === true),
      come: come.filter((element) => standing.get(set)?.has(keyOf(element)) !== true),
    }));
    this.#brought = undefined;
    this.#write(requestsOf(this.#ruleset.table, differences));
    applied(standing, differences);
    return texts(this.#ruleset.table, differences);
  }

  /** Takes all of it away, if it is there. */
  static remove(socket: NetlinkSocket, table: Table): void {
    if (observeTable(socket, table) !== undefined) applyTransaction(socket, [deleteTable(table)]);
  }

  #anew(elements: Elements): Request[] {
    const { table } = this.#ruleset;
    return [
      ...replaceRuleset(this.#ruleset),
      ...[...elements].flatMap(([set, all]) => newElements(table, set, [...all.values()])),
    ];
  }

  #write(requests: readonly Request[]): void {
    if (requests.length === 0) return;
    applyTransaction(this.#socket, requests);
    this.#generation = (this.#generation + 1) >>> 0;
  }

  #observe(): Elements {
    const sets = [WRAPPED, DIRECT];
    const names = sets.map(({ name }) => name);
    const found = observeTable(this.#socket, this.#ruleset.table, names)?.elements;
    return collect(
      sets.map((set) => ({
        set,
        // those of a set that another version has made otherwise are of no use
        elements: (found?.get(set.name) ?? []).filter(({ key }) => key.length === set.key.length),
      })),
    );
  }
}

function collect(groups: readonly SetElements[]): Elements {
  const bySet = new Map<NamedSet, Map<string, Element>>([
    [WRAPPED, new Map()],
    [DIRECT, new Map()],
  ]);
  for (const { set, elements } of groups) for (const element of elements) bySet.get(set)?.set(keyOf(element), element);
  return bySet;
}

function keyOf({ key }: Element): string {
  return key.join('.');
}

function differ(from: Elements, to: Elements): Difference[] {
  return [...to].map(([set, next]) => {
    const former = from.get(set) ?? new Map<string, Element>();
    return {
      set,
      gone: [...former].filter(([key]) => !next.has(key)).map(([, element]) => element),
      come: [...next].filter(([key]) => !former.has(key)).map(([, element]) => element),
    };
  });
}

function copyOf(elements: Elements): Elements {
  return new Map([...elements].map(([set, all]) => [set, new Map(all)]));
}

/** Changes the elements, and gives them back. */
function applied(elements: Elements, differences: readonly Difference[]): Elements {
  for (const { set, gone, come } of differences) {
    const all = elements.get(set);
    for (const element of gone) all?.delete(keyOf(element));
    for (const element of come) all?.set(keyOf(element), element);
  }
  return elements;
}

function requestsOf(table: Table, differences: readonly Difference[]): Request[] {
  return differences.flatMap(({ set, gone, come }) => [
    ...deleteElements(table, set, gone),
    ...newElements(table, set, come),
  ]);
}

function texts(table: Table, differences: readonly Difference[]): string[] {
  return differences.flatMap(({ set, gone, come }) => [
    ...gone.map((element) => elementText(table, set, element, 'delete')),
    ...come.map((element) => elementText(table, set, element, 'add')),
  ]);
}
