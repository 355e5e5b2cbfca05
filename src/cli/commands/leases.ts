import type { Command } from 'commander';
import { type CulvertClient, CulvertError, InputError, type LeaseResource } from '../../api/client/client.ts';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { leaseSentence, printLeases } from '../leases.ts';
import { print, printJson } from '../output.ts';

type Explained = Omit<LeaseResource, 'generation'> & { readonly generation?: number };

export function addLeases(program: Command): void {
  const leases = addClientCommand(program, {
    usage: 'leases',
    summary: 'List the leases: which slot is whose, and which rest',
    examples: [
      ['culvert leases', 'every slot that is not free'],
      ['culvert leases explain 12', 'who has slot 12, since when, and why it rests'],
      ['culvert leases release 12 --force', 'free it before its time'],
    ],
  }).action(list);
  addClientCommand(leases, {
    usage: 'explain <slot-or-id>',
    summary: 'Say who holds a slot, since when, why it rests and when it is free',
    details: 'A whole number is a slot, anything else the id of a sandbox; sandbox:ID is an id whatever it looks like.',
    examples: [
      ['culvert leases explain 12', 'slot 12'],
      ['culvert leases explain build-42', 'every slot that this sandbox has, or had last'],
    ],
  }).action(explain);
  addClientCommand(leases, {
    usage: 'release <slot>',
    summary: 'Free a slot that is in quarantine before its time',
    details: 'Without --force only where no flow of its last owner is left.',
    examples: [
      ['culvert leases release 12', 'its time is over now'],
      ['culvert leases release 12 --force', 'though flows of its last owner may reach its next one'],
    ],
  })
    .option('--force', 'also where flows of its last owner may be left')
    .action(release);
}

async function list({ json, ...options }: Common): Promise<void> {
  using client = clientOf(options);
  const leases = await client.leases();
  if (json) printJson(leases);
  else printLeases(leases);
}

async function explain(what: string, _own: object, command: Command): Promise<void> {
  const { json, ...options } = command.optsWithGlobals<Common>();
  using client = clientOf(options);
  const isSlot = /^[0-9]+$/.test(what);
  const found = isSlot ? [await bySlot(client, what)] : await bySandbox(client, what.replace(/^sandbox:/, ''));
  if (json) printJson(isSlot ? found[0] : found);
  else for (const lease of found) print(leaseSentence(lease, Date.now()));
}

async function release(slot: string, _own: object, command: Command): Promise<void> {
  const { json, force, ...options } = command.optsWithGlobals<Common & { readonly force?: true }>();
  using client = clientOf(options);
  const lease = await client.release(slotOf(slot), { force: force === true });
  if (json) printJson(lease);
  else print(leaseSentence(lease, Date.now()));
}

async function bySlot(client: CulvertClient, text: string): Promise<Explained> {
  const slot = slotOf(text);
  try {
    return await client.lease(slot);
  } catch (error) {
    if (error instanceof CulvertError && error.code === 'lease_unknown') return { slot, state: 'free' };
    throw error;
  }
}

async function bySandbox(client: CulvertClient, id: string): Promise<Explained[]> {
  const found = (await client.leases()).filter(({ sandboxId }) => sandboxId === id);
  if (found.length > 0) return found;
  throw new InputError(
    'lease_unknown',
    `Cannot find a lease of sandbox ${id}: no slot is its, and none rests after it`,
  );
}

function slotOf(text: string): number {
  if (/^[0-9]{1,5}$/.test(text)) return Number(text);
  throw new InputError('usage', `Cannot read ${JSON.stringify(text)} as a slot: want a whole number`);
}
