import { existsSync, readFileSync } from 'node:fs';

/**
 * What enumerations and definitions of plain numbers, shifts, sums and unions say in these headers of the kernel.
 *
 * @param headers paths below /usr/include, in the order in which they build on each other
 * @returns undefined where they are not installed
 */
export function headerNames(...headers: readonly string[]): ReadonlyMap<string, number> | undefined {
  const paths = headers.map((header) => `/usr/include/${header}`);
  if (!paths.every((path) => existsSync(path))) return undefined;
  return namesIn(paths.map((path) => readFileSync(path, 'utf8')).join('\n'));
}

function namesIn(text: string): ReadonlyMap<string, number> {
  const names = new Map<string, number>();
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '');
  for (const [, name = '', value = ''] of code.matchAll(/^#define[ \t]+(\w+)[ \t]+(.+)$/gm)) {
    const number = valueOf(value, names);
    if (number !== undefined) names.set(name, number);
  }
  for (const [, body = ''] of code.matchAll(/enum\s+\w*\s*\{([^}]*)\}/g)) {
    let next = 0;
    for (const line of body.replaceAll(/^#.*$/gm, '').split(',')) {
      const [name = '', value] = line.trim().split(/\s*=\s*/);
      if (name === '') continue;
      next = value === undefined ? next : (valueOf(value, names) ?? Number.NaN);
      names.set(name, next++);
    }
  }
  return names;
}

function valueOf(expression: string, names: ReadonlyMap<string, number>): number | undefined {
  const parts = expression
    .replaceAll(/[()\s]/g, '')
    .split('|')
    .map((part) => part.split('+').reduce((sum, term) => sum + termValue(term, names), 0));
  if (parts.some((part) => Number.isNaN(part))) return undefined;
  return parts.reduce((union, part) => union | part);
}

function termValue(term: string, names: ReadonlyMap<string, number>): number {
  const [base = '', shift] = term.replaceAll(/U\b/g, '').split('<<');
  const value = names.get(base) ?? Number(base);
  return shift === undefined ? value : value << Number(shift);
}
