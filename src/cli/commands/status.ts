import type { Command } from 'commander';
import type { StatusResource } from '../../api/client/client.ts';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { printFields, printJson } from '../output.ts';
import { agoText } from '../time.ts';

export function addStatus(program: Command): void {
  addClientCommand(program, {
    usage: 'status',
    summary: 'Say how the daemon and the host’s networks are',
    examples: [
      ['culvert status', 'for a person'],
      ['culvert status --json', 'for a machine'],
    ],
  }).action(status);
}

async function status({ json, ...options }: Common): Promise<void> {
  using client = clientOf(options);
  const state = await client.status();
  if (json) {
    printJson(state);
    return;
  }
  const { problems } = state;
  printFields([
    ['daemon', `${state.name} ${state.version}, pid ${state.pid}, up ${agoText(Date.now() - state.startedWallMs)}`],
    ...(state.drainingSinceWallMs === undefined
      ? []
      : [['draining', `no new sandboxes, since ${agoText(Date.now() - state.drainingSinceWallMs)}`] as const]),
    ['live', counts(state.live)],
    ['warm', counts(state.warm)],
    ['removing', String(state.removing)],
    ['quarantined', String(state.quarantined)],
    ['free slots', String(state.freeSlots)],
    ['MTU', String(state.mtu)],
    ['flows', `${state.flows.root} in the root, ${state.flows.router} in the router, of ${state.flows.most} each`],
    ...(state.adopting ? [['adopting', 'some sandboxes of an earlier run are not verified yet'] as const] : []),
    ['problems', problems.length === 0 ? 'none' : String(problems.length)],
    ...problems.map(({ code, message }) => [`  ${code}`, message] as const),
  ]);
}

function counts({ microvm, netns, bridge }: StatusResource['live']): string {
  return `${microvm + netns + bridge} (microvm ${microvm}, netns ${netns}, bridge ${bridge})`;
}
