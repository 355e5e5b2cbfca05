import { styleText } from 'node:util';

/** Prints a line, or several, to stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Prints a value for machines: indented where a person looks on. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, process.stdout.isTTY ? 2 : 0));
}

/** Prints rows under a head, columns aligned, without lines between: it survives cut(1), awk(1) and a narrow terminal. */
export async function printTable(head: readonly string[], rows: readonly (readonly string[])[]): Promise<void> {
  const { default: Table } = await import('cli-table3');
  const table = new Table({
    head: [...head],
    chars: NO_LINES,
    style: { 'padding-left': 0, 'padding-right': 2, head: [] },
  });
  table.push(...rows.map((row) => [...row]));
  const [first = '', ...rest] = table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd());
  print([emphasis(first), ...rest].join('\n'));
}

/** Prints names with their values, below each other. */
export function printFields(fields: readonly (readonly [name: string, value: string])[]): void {
  const width = Math.max(...fields.map(([name]) => name.length));
  for (const [name, value] of fields) print(`${emphasis(name.padEnd(width))}  ${value}`);
}

/** Bold on a terminal that wants colours. */
function emphasis(text: string): string {
  return styleText('bold', text, { stream: process.stdout });
}

const NO_LINES = Object.fromEntries(
  [
    'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right',
    'left left-mid mid mid-mid right right-mid middle',
  ]
    .flatMap((places) => places.split(' '))
    .map((place) => [place, '']),
);
