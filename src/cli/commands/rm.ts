import type { Command } from 'commander';
import type { RemovalResource } from '../../api/client/client.ts';
import { InputError } from '../../errors.ts';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { print, printJson } from '../output.ts';
import { Progress } from '../progress.ts';

type Options = Common & { readonly all?: true };

/** Sandboxes that one request removes. */
const BATCH = 1000;

export function addRm(program: Command): void {
  addClientCommand(program, {
    usage: 'rm [ids...]',
    summary: 'Remove sandboxes',
    details:
      'Returns when they are cut off; what they had is cleaned up after, and their addresses rest before they are used again.',
    examples: [
      ['culvert rm build-42', 'one'],
      ['culvert rm a1 a2 a3', 'several, all or none'],
      ['culvert rm --all', 'all that there are'],
    ],
  })
    .option('--all', 'all that there are')
    .action(rm);
}

async function rm(ids: string[], { json, all, ...options }: Options): Promise<void> {
  if ((all === true) === ids.length > 0) {
    throw new InputError('usage', 'Cannot tell what to remove: want ids, or --all and no ids');
  }
  if (ids.length > BATCH) throw new InputError('usage', `Cannot remove ${ids.length} at once: want at most ${BATCH}`);
  using client = clientOf(options);
  const going = all ? (await client.list()).map(({ id }) => id) : ids;
  const removed: RemovalResource[] = [];
  {
    using progress = new Progress('Removing sandboxes', going.length, { json: json === true });
    for (let start = 0; start < going.length; start += BATCH) {
      removed.push(...(await client.remove(going.slice(start, start + BATCH))));
      progress.update(removed.length);
    }
  }
  if (json) printJson(removed);
  else for (const { id, slot, generation } of removed) print(`Removed ${id} (slot ${slot}, generation ${generation})`);
}
