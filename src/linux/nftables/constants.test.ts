import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as constants from './constants.ts';
import * as expressions from './expr/constants.ts';

const HEADERS = [
  '/usr/include/linux/netfilter.h',
  '/usr/include/linux/netfilter/nf_tables.h',
  '/usr/include/linux/netfilter/nfnetlink.h',
];

/** linux/netlink.h */
const NLMSG_MIN_TYPE = 16;

/** What enumerations and definitions of plain numbers, shifts and sums say in these headers. */
function namesIn(text: string): Map<string, number> {
  const names = new Map([['NLMSG_MIN_TYPE', NLMSG_MIN_TYPE]]);
  const valueOf = (expression: string): number | undefined => {
    const terms = expression
      .replaceAll(/[()\s]/g, '')
      .split('+')
      .map((term) => {
        const [base = '', shift] = term.replaceAll(/U\b/g, '').split('<<');
        const value = names.get(base) ?? Number(base);
        return shift === undefined ? value : value << Number(shift);
      });
    const sum = terms.reduce((total, term) => total + term, 0);
    return Number.isNaN(sum) ? undefined : sum;
  };
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '');
  for (const [, name = '', value = ''] of code.matchAll(/^#define[ \t]+(\w+)[ \t]+(.+)$/gm)) {
    const number = valueOf(value);
    if (number !== undefined) names.set(name, number);
  }
  for (const [, body = ''] of code.matchAll(/enum\s+\w*\s*\{([^}]*)\}/g)) {
    let next = 0;
    for (const line of body.replaceAll(/^#.*$/gm, '').split(',')) {
      const [name = '', value] = line.trim().split(/\s*=\s*/);
      if (name === '') continue;
      next = value === undefined ? next : (valueOf(value) ?? Number.NaN);
      names.set(name, next++);
    }
  }
  return names;
}

describe.skipIf(!HEADERS.every((header) => existsSync(header)))('the numbers of nf_tables', () => {
  const names = namesIn(HEADERS.map((header) => readFileSync(header, 'utf8')).join('\n'));

  it.each(Object.entries({ ...constants, ...expressions }))('%s is what the header says', (name, value) => {
    expect(names.get(name)).toBe(value);
  });
});
