import type { Command } from 'commander';
import type { HostResource } from '../../api/client/client.ts';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { livenessWord } from '../liveness.ts';
import { print, printJson, printTable } from '../output.ts';

export function addHosts(program: Command): void {
  const hosts = addClientCommand(program, {
    usage: 'hosts',
    summary: 'List the hosts of the cluster',
    details: 'One that is draining takes no new sandboxes, see culvert drain.',
    examples: [
      ['culvert hosts', 'who is there, and what subnet each has'],
      ['culvert hosts remove h3', 'h3 is gone for good: others may have its subnet'],
    ],
  }).action(list);
  addClientCommand(hosts, {
    usage: 'remove <name>',
    summary: 'Take a host out of the cluster that is gone for good',
    details: 'Its subnet is free from then on. A host that is there leaves by culvert down --purge.',
    examples: [['culvert hosts remove h3', 'where h3 will not come back']],
  }).action(remove);
}

async function list({ json, ...options }: Common): Promise<void> {
  using client = clientOf(options);
  const hosts = await client.hosts();
  if (json) printJson(hosts);
  else printTable(['HOST', 'STATE', 'SUBNET', 'GEN', 'ENDPOINT', 'MTU', 'VERSION', 'PROBLEM'], hosts.map(row));
}

async function remove(name: string, _own: object, command: Command): Promise<void> {
  const { json, ...options } = command.optsWithGlobals<Common>();
  using client = clientOf(options);
  await client.removeHost(name);
  if (json) printJson({ removed: name });
  else print(`Removed host ${name}; its subnet is free`);
}

function row({
  name,
  isSelf,
  isAlive,
  isDraining,
  subnet,
  generation,
  endpoint,
  mtu,
  version,
  problem,
}: HostResource): string[] {
  const state = isSelf ? 'this one' : livenessWord(isAlive);
  const states = isDraining ? `${state}, draining` : state;
  const cells = [subnet, generation, endpoint, mtu, version, problem];
  return [name, states, ...cells.map((cell) => String(cell ?? '-'))];
}
