import type { Command } from 'commander';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { print, printJson } from '../output.ts';

export function addUndrain(program: Command): void {
  addClientCommand(program, {
    usage: 'undrain',
    summary: 'Take new sandboxes on this host again',
    examples: [['culvert undrain', 'after culvert drain']],
  }).action(undrain);
}

async function undrain({ json, ...options }: Common): Promise<void> {
  using client = clientOf(options);
  const status = await client.undrain();
  if (json) printJson(status);
  else print(`Host ${status.name} takes new sandboxes`);
}
