import { setTimeout as pause } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { CulvertClient, StatusResource } from '../../api/client/client.ts';
import { CulvertError } from '../../errors.ts';
import { addClientCommand, type Common, clientOf, integer } from '../command.ts';
import { print, printJson } from '../output.ts';

/** An hour: who removes sandboxes by hand takes that. */
const WAIT_S = 3600;
const LOOK_MS = 250;

type Options = Common & { readonly wait?: true; readonly timeout: number };

export function addDrain(program: Command): void {
  addClientCommand(program, {
    usage: 'drain',
    summary: 'Take no new sandboxes on this host',
    details:
      'What runs goes on, and can be changed and removed. Hosts of the cluster see it in culvert hosts. It holds until culvert undrain, over restarts of the daemon too.',
    examples: [
      ['culvert drain', 'before work on the host'],
      ['culvert drain --wait', 'return when no sandbox is left'],
    ],
  })
    .addOption(new Option('--wait', 'return when no sandbox is left'))
    .option('--timeout <seconds>', 'wait no longer', integer('--timeout'), WAIT_S)
    .action(drain);
}

async function drain({ json, wait, timeout, ...options }: Options): Promise<void> {
  using client = clientOf(options);
  const begun = await client.drain();
  const status = wait ? await untilEmpty(client, timeout) : begun;
  if (json) printJson(status);
  else print(`Host ${status.name} takes no new sandboxes; ${left(status)}`);
}

/** @throws CulvertError `timeout`; `undrained` where somebody has it take sandboxes again */
async function untilEmpty(client: CulvertClient, seconds: number): Promise<StatusResource> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    const status = await client.status();
    if (status.drainingSinceWallMs === undefined) {
      throw new CulvertError('undrained', `Host ${status.name} takes sandboxes again: somebody has undrained it`);
    }
    if (count(status) === 0) return status;
    if (performance.now() >= deadline) {
      const message = `Host ${status.name} takes no new sandboxes, and after ${seconds} s ${left(status)}; see culvert ls`;
      throw new CulvertError('timeout', message);
    }
    // oxlint-disable-next-line no-await-in-loop -- likewise
    await pause(LOOK_MS);
  }
}

function count({ live: { microvm, netns, bridge } }: StatusResource): number {
  return microvm + netns + bridge;
}

function left(status: StatusResource): string {
  return count(status) === 0 ? 'none is left' : `${count(status)} run on`;
}
