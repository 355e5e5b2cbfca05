import { CulvertError } from '../../errors.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { listLinks } from '../../linux/observe/links.ts';
import { listRoutes } from '../../linux/observe/routes.ts';
import { listPolicyRules } from '../../linux/observe/rules.ts';
import type { PolicyRule } from '../../linux/route/rule.ts';
import { type Family, ROOT } from '../../plan/state.ts';
import { readMark } from '../owner/mark.ts';
import type { Numbers } from './routing.ts';

/** The first that wg-quick(8) takes, the port of WireGuard. */
const FIRST = 51_820;
/** How many tunnels a machine may have that all of a family goes through. */
const TRIED_MAX = 1000;

/** Of the rule that leads to the main table: the kernel gives a rule the place before the first one. */
const MAIN_PRIORITY = 32_766;

const FAMILIES: readonly Family[] = ['inet', 'inet6'];

/** What the kernel has of what numbers are chosen by. */
export type Taken = {
  /** tables that have routes or rules, and marks */
  readonly numbers: ReadonlySet<number>;
  readonly rules: Readonly<Record<Family, readonly PolicyRule[]>>;
};

export function takenNumbers(socket: NetlinkSocket): Taken {
  const seen = listLinks(socket, ROOT);
  const links = new Map(seen.map(({ end }) => [end.link.index, end.link]));
  const rulesOf = (family: Family): PolicyRule[] => listPolicyRules(socket, ROOT, { family, protocol: 'each' });
  const rules = { inet: rulesOf('inet'), inet6: rulesOf('inet6') };
  const routes = FAMILIES.flatMap((family) =>
    listRoutes(socket, ROOT, links, { family, table: 'each', protocol: 'each' }),
  );
  const numbers = [
    ...routes.map(({ table }) => table),
    ...[...rules.inet, ...rules.inet6].flatMap(({ table, mark }) => [table, mark?.value]),
    ...seen.map(({ alias }) => readMark(alias)?.fwMark),
  ];
  return { numbers: new Set(numbers.filter((number) => number !== undefined)), rules };
}

/**
 * Those that a tunnel is to have.
 *
 * @param wanted of the config, where it says so
 * @throws CulvertError `no_table_free`
 */
export function chooseNumbers({ numbers, rules }: Taken, wanted: number | undefined): Numbers {
  const priority = (family: Family): number =>
    Math.min(MAIN_PRIORITY, ...rules[family].map((rule) => rule.priority).filter((one) => one > 0)) - 1;
  return { fwMark: wanted ?? freeNumber(numbers), priorities: { inet: priority('inet'), inet6: priority('inet6') } };
}

function freeNumber(numbers: ReadonlySet<number>): number {
  for (let number = FIRST; number < FIRST + TRIED_MAX; number++) if (!numbers.has(number)) return number;
  const message = `Cannot choose a table of routes: ${FIRST} to ${FIRST + TRIED_MAX - 1} are all in use; say FwMark in the config`;
  throw new CulvertError('no_table_free', message);
}
