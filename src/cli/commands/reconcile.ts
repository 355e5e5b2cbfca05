import type { Command } from 'commander';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { print, printJson } from '../output.ts';

type Options = Common & { readonly dryRun?: true };

export function addReconcile(program: Command): void {
  addClientCommand(program, {
    usage: 'reconcile',
    summary: 'Compare what should be with what is, and repair it',
    details:
      'Prints the plan, a line per operation in the words of ip, nft and tc; nothing to stdout where nothing differs.',
    examples: [
      ['culvert reconcile --dry-run', 'only say what would be done'],
      ['culvert reconcile', 'do it'],
    ],
  })
    .option('--dry-run', 'only say what would be done')
    .action(reconcile);
}

async function reconcile({ json, dryRun, ...options }: Options): Promise<void> {
  using client = clientOf(options);
  const result = await client.reconcile({ dryRun: dryRun === true });
  if (json) printJson(result);
  else if (result.plan.length === 0) process.stderr.write('Nothing differs\n');
  else print(result.plan.join('\n'));
}
