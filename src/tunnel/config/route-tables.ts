import { RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN } from '../../linux/route/constants.ts';
import { refuse, shown } from './refusal.ts';
import { numberOf } from './values.ts';

/** The tables that have a name everywhere; /etc/iproute2/rt_tables may name others. */
export const ROUTE_TABLES: ReadonlyMap<string, number> = new Map([
  ['default', RT_TABLE_DEFAULT],
  ['main', RT_TABLE_MAIN],
  ['local', RT_TABLE_LOCAL],
]);

/** What rt_tables of iproute2 says: a number and a name a line. Lines that say something else are ip(8)'s to complain of. */
export function readRouteTables(text: string): ReadonlyMap<string, number> {
  const named = text.split('\n').flatMap((line): [string, number][] => {
    const [, digits = '', name = ''] = /^\s*(0x[0-9a-f]{1,8}|[0-9]{1,10})\s+([^\s#]+)/i.exec(line) ?? [];
    return name === '' ? [] : [[name, Number(digits)]];
  });
  return new Map([...ROUTE_TABLES, ...named]);
}

/** @throws InputError `tunnel_config` */
export function readTable(text: string, tables: ReadonlyMap<string, number>): 'auto' | 'off' | number {
  const word = text.toLowerCase();
  if (word === '' || word === 'auto') return 'auto';
  if (word === 'off') return 'off';
  const number = tables.get(text) ?? (/^0x[0-9a-f]{1,8}$/.test(word) ? Number(word) : numberOf(text, 0xffff_ffff));
  if (number === undefined) refuse(`${shown(text)} is no routing table here; want auto, off or 1 to 4294967295`);
  // the kernel takes table 0 for the main one
  return number === 0 ? RT_TABLE_MAIN : number;
}
