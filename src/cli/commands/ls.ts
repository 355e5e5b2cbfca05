import type { Command } from 'commander';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { print, printJson } from '../output.ts';
import { printSandboxes } from '../sandboxes.ts';

export function addLs(program: Command): void {
  addClientCommand(program, {
    usage: 'ls',
    summary: 'List the sandboxes',
    examples: [
      ['culvert ls', 'a line per sandbox'],
      ['culvert ls --quiet | xargs culvert rm', 'remove all of them'],
    ],
  })
    .option('-q, --quiet', 'print the ids only')
    .action(ls);
}

async function ls({ json, quiet, ...options }: Common & { readonly quiet?: true }): Promise<void> {
  using client = clientOf(options);
  const sandboxes = await client.list();
  if (json) printJson(quiet ? sandboxes.map(({ id }) => id) : sandboxes);
  else if (quiet) for (const { id } of sandboxes) print(id);
  else printSandboxes(sandboxes);
}
