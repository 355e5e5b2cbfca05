import type { Command } from 'commander';
import type { ChangeBody } from '../../api/client/client.ts';
import { InputError } from '../../errors.ts';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { printJson } from '../output.ts';
import { printSandboxes } from '../sandboxes.ts';
import {
  addSpecificationOptions,
  ratesChangeOf,
  type SpecificationOptions,
  saysPolicy,
  saysRates,
} from '../specification.ts';

export function addSet(program: Command): void {
  const command = addClientCommand(program, {
    usage: 'set <id>',
    summary: 'Change what a running sandbox may reach, and how fast',
    details:
      'What is not said stays, also what another changes at the same time. Prefixes that are given take the place of all that were there. Each takes effect in one step, with no gap between the old and the new.',
    examples: [
      ['culvert set build-42 --egress none', 'cut it off from outside; what the host began goes on'],
      [
        'culvert set build-42 --allow 192.0.2.0/24 --allow 198.51.100.7',
        'let it reach these, and no others it was let',
      ],
      ['culvert set build-42 --no-deny --no-tx-rate', 'take prefixes and a limit away'],
    ],
  }).alias('update');
  addSpecificationOptions(command)
    .option('--no-tx-rate', 'no limit of what it sends')
    .option('--no-rx-rate', 'no limit of what it gets')
    .option('--no-allow', 'no prefixes that it may reach all the same')
    .option('--no-deny', 'no prefixes that it may not reach')
    .option('--no-group', 'alone')
    .action(set);
}

async function set(id: string, { json, ...given }: Common & SpecificationOptions): Promise<void> {
  if (!saysRates(given) && !saysPolicy(given) && given.group === undefined) {
    throw new InputError(
      'usage',
      `Cannot change nothing of ${id}: want a rate, a burst, egress, allow, deny or a group`,
    );
  }
  using client = clientOf(given);
  const { egress, allow, deny, group } = given;
  const change: ChangeBody = {
    ...(saysRates(given) && { rates: ratesChangeOf(given) }),
    ...(saysPolicy(given) && {
      policy: { egress, allow: allow === false ? null : allow, deny: deny === false ? null : deny },
    }),
    ...(group !== undefined && { group: group === false ? null : group }),
  };
  const changed = await client.update(id, change);
  if (json) printJson(changed);
  else printSandboxes([changed]);
}
