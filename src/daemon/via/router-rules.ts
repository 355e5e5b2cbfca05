import type { Kernel } from '../../linux/apply.ts';
import { diff } from '../../plan/diff.ts';
import { type KernelObject, objectKey, ROUTER } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { markOf, VIA_MASK } from '../../sandbox/ruleset/elements.ts';
import { RT_TABLE_MAIN, TUNNEL_PROTOCOL } from '../../tunnel/plan/routing.ts';

/** In the router, of the table of routes of each tunnel: its number is added. */
const FIRST_TABLE = 20_000;
/** Of the rules; the kernel’s own for the main table is far behind. */
const PRIORITY = { known: 20_000, first: 20_001, none: 30_000 };

/** The table of a group's tunnel. */
export function viaTable(number: number): number {
  return FIRST_TABLE + number;
}

/**
 * Which way packets go in the router that have a tunnel for their way: where the main table knows better than a default
 * route, as to others of their group and to the host; else by the table of their tunnel; else nowhere.
 */
function rulesOf(numbers: readonly number[]): KernelObject[] {
  if (numbers.length === 0) return [];
  const common = { kind: 'rule', namespace: ROUTER, family: 'inet', protocol: TUNNEL_PROTOCOL } as const;
  const any = { mark: { value: 0, mask: VIA_MASK }, inverted: true } as const;
  return [
    { ...common, priority: PRIORITY.known, ...any, suppressPrefixLength: 0, table: RT_TABLE_MAIN },
    ...numbers.map((number): KernelObject => {
      const mark = { value: markOf(0, number), mask: VIA_MASK };
      return { ...common, priority: PRIORITY.first + number, mark, table: viaTable(number) };
    }),
    { ...common, priority: PRIORITY.none, ...any },
  ];
}

/** Has the router have the rules for these tunnels, and for no others. @returns what was put right, in the words of ip(8) */
export function keepRules(kernel: Kernel, numbers: readonly number[]): string[] {
  if (!kernel.exists(ROUTER)) return [];
  const wanted = rulesOf(numbers.toSorted((one, other) => one - other));
  const [like] = rulesOf([1]);
  const found = like === undefined ? [] : kernel.find(ROUTER, [like]).objects.filter(({ kind }) => kind === 'rule');
  const seen = new Map(found.map((object) => [objectKey(object), object]));
  const plan = diff([...seen.values()], wanted);
  if (plan.length === 0) return [];
  kernel.apply(plan);
  return planText(plan).split('\n');
}
