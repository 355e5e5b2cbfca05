import type { NetlinkSocket } from '../linux/netlink/socket.ts';
import { isIntact } from '../linux/nftables/intact.ts';
import { type ObservedTable, observeTable } from '../linux/nftables/observe.ts';
import type { Element, NamedSet, Ruleset, Table } from '../plan/ruleset.ts';
import { type Placed, SETS } from './pass.ts';
import { FAR_GROUPS, GROUPS, POLICIES, ROUTER_TABLE } from './ruleset/names.ts';

/** What the router's tables hold. */
export type Observed = { readonly placed: readonly Placed[]; readonly policies: readonly Element[] };

/** What of an earlier run's tables says how that one had numbered. */
export type Former = Record<'policies' | 'groups' | 'far', readonly Element[]>;

/** What the tables hold of sandboxes; undefined where a table is missing or not made from these rulesets. */
export function observeTables(socket: NetlinkSocket, rulesets: readonly Ruleset[]): Observed | undefined {
  const tables = new Map<string, ObservedTable>();
  for (const ruleset of rulesets) {
    // what rules put into sets by themselves is nobody's to compare
    const own = SETS.filter(({ table }) => table === ruleset.table).flatMap(({ sets }) => sets);
    const names = [...own, ...(ruleset.table === ROUTER_TABLE ? [POLICIES] : [])].map(({ name }) => name);
    const found = observeIntact(socket, ruleset, names);
    if (found === undefined) return undefined;
    tables.set(tableKey(ruleset.table), found);
  }
  const elementsOf = (table: Table, set: NamedSet): readonly Element[] =>
    tables.get(tableKey(table))?.elements.get(set.name) ?? [];
  return {
    placed: SETS.flatMap(({ table, sets }) =>
      sets.flatMap((set) => elementsOf(table, set).map((element) => ({ table, set, element }))),
    ),
    policies: elementsOf(ROUTER_TABLE, POLICIES),
  };
}

/** undefined where not all tables are made from these rulesets */
export function observeFormer(socket: NetlinkSocket, rulesets: readonly Ruleset[]): Former | undefined {
  const former = { policies: POLICIES, groups: GROUPS, far: FAR_GROUPS };
  const elements = new Map<string, readonly Element[]>();
  for (const ruleset of rulesets) {
    const names = Object.values(former).map(({ name }) => name);
    const found = observeIntact(socket, ruleset, ruleset.table === ROUTER_TABLE ? names : []);
    if (found === undefined) return undefined;
    for (const [name, some] of found.elements) elements.set(name, some);
  }
  const { policies, groups, far } = former;
  const of = ({ name }: NamedSet): readonly Element[] => elements.get(name) ?? [];
  return { policies: of(policies), groups: of(groups), far: of(far) };
}

/** What one set of a table holds. */
export function observeSet(socket: NetlinkSocket, table: Table, set: NamedSet): Placed[] {
  const elements = observeTable(socket, table, [set.name])?.elements.get(set.name) ?? [];
  return elements.map((element) => ({ table, set, element }));
}

function observeIntact(socket: NetlinkSocket, ruleset: Ruleset, sets: readonly string[]): ObservedTable | undefined {
  return isIntact(socket, ruleset) ? observeTable(socket, ruleset.table, sets) : undefined;
}

function tableKey({ family, name }: Table): string {
  return `${family} ${name}`;
}
