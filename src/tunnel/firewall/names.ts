import { InputError } from '../../errors.ts';
import type { Table } from '../../plan/ruleset.ts';

/*
 * A tunnel is named by its link. Its tables are of the family `inet`, each for both families of addresses, and their names
 * begin with one of these; what follows is the tunnel's name. No daemon's own table has an underscore in its name.
 */

const PREFIXES = { way: 'culvert_tunnel_', 'kill switch': 'culvert_kill_' } as const;

/** `way` is what keeps the tunnel's packets on their way: see way.ts. */
export type Purpose = keyof typeof PREFIXES;

/** What wg-quick(8) takes for the name of an interface: no longer than IFNAMSIZ less the closing zero. */
const NAME = /^[a-zA-Z0-9_=+.-]{1,15}$/;

/** @throws InputError `invalid_tunnel_name` */
export function tableOf(purpose: Purpose, tunnel: string): Table {
  if (!NAME.test(tunnel)) {
    const message = `Cannot name a tunnel ${JSON.stringify(tunnel)}: want 1 to 15 of a-z, A-Z, 0-9, _, =, +, . and -`;
    throw new InputError('invalid_tunnel_name', message, { field: 'name' });
  }
  return { family: 'inet', name: `${PREFIXES[purpose]}${tunnel}` };
}

/** Which tunnel's table it is by its name, and what for; undefined of every other name. */
export function ownerOf(table: string): { readonly purpose: Purpose; readonly tunnel: string } | undefined {
  for (const purpose of Object.keys(PREFIXES) as Purpose[]) {
    const tunnel = table.slice(PREFIXES[purpose].length);
    if (table.startsWith(PREFIXES[purpose]) && NAME.test(tunnel)) return { purpose, tunnel };
  }
  return undefined;
}
