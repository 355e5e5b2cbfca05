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
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title) => title.length);
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  print([emphasis(line(head)), ...rows.map(line)].join('\n'));
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
