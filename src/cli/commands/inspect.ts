import type { Command } from 'commander';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { print, printFields, printJson } from '../output.ts';
import { policyText, rateText } from '../specification.ts';

export function addInspect(program: Command): void {
  addClientCommand(program, {
    usage: 'inspect <id>',
    summary: 'Show one sandbox',
    examples: [
      ['culvert inspect build-42', 'for a person'],
      ['culvert inspect build-42 --json | jq -r .netns', 'where its namespace is'],
      ['culvert inspect build-42 --firecracker', 'what goes into Firecracker’s configuration'],
    ],
  })
    .option('--firecracker', 'print network-interfaces and boot arguments for Firecracker, as JSON')
    .action(inspect);
}

async function inspect(
  id: string,
  { json, firecracker, ...options }: Common & { readonly firecracker?: true },
): Promise<void> {
  using client = clientOf(options);
  if (firecracker) {
    print(JSON.stringify(await client.firecracker(id), null, 2));
    return;
  }
  const sandbox = await client.inspect(id);
  if (json) {
    printJson(sandbox);
    return;
  }
  const { slot, generation, state, topology, rates, policy, tap } = sandbox;
  printFields([
    ['id', sandbox.id],
    ['topology', topology],
    ['state', `${state}, slot ${slot}, generation ${generation}`],
    ['namespace', sandbox.netns],
    ['host address', sandbox.hostAddress],
    ['inside', `${sandbox.guestAddress}, MAC ${sandbox.mac}`],
    ['gateway', sandbox.gateway],
    ['DNS', sandbox.dns],
    ...(tap === undefined ? [] : [['TAP', tap] as const]),
    ['MTU', String(sandbox.mtu)],
    ['egress', policyText(policy)],
    ['group', sandbox.group ?? '-'],
    ['via', sandbox.via ?? '-'],
    ['transmit', rateText(rates.transmit)],
    ['receive', rateText(rates.receive)],
  ]);
}
