import { type Command, Option } from 'commander';
import type { CreateBody, CulvertClient, SandboxResource } from '../../api/client/client.ts';
import { CulvertError, InputError } from '../../errors.ts';
import { addClientCommand, type Common, clientOf, integer } from '../command.ts';
import { printJson } from '../output.ts';
import { Progress } from '../progress.ts';
import { printSandboxes } from '../sandboxes.ts';
import {
  addSpecificationOptions,
  ratesOf,
  type SpecificationOptions,
  saysPolicy,
  saysRates,
} from '../specification.ts';

type Options = Common &
  SpecificationOptions & {
    readonly topology: SandboxResource['topology'];
    readonly count: number;
    readonly via?: string;
  };

/** Sandboxes that one request creates: few enough for others' requests to come in between. */
const BATCH = 250;

const COUNT_MAX = 32_767;

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export function addCreate(program: Command): void {
  const command = addClientCommand(program, {
    usage: 'create [id]',
    summary: 'Create a sandbox network, or several',
    details:
      'An id that exists with the same specification is returned as it is; with another one it is an error. What is not said is as the daemon’s config has it for the topology.',
    examples: [
      ['culvert create build-42 --topology microvm', 'a network for a virtual machine'],
      ['culvert create --topology netns --count 20 --json', 'twenty, with ids that the daemon makes'],
      ['culvert create a1 --topology netns --egress none --allow 192.0.2.0/24', 'that reaches one network only'],
      ['culvert create a3 --topology netns --group web', 'that reaches those in its group, and is reached by them'],
      ['culvert create a4 --topology netns --via nl1', 'that leaves by the tunnel nl1 alone'],
      ['culvert create a2 --topology bridge --tx-rate 200MB --tx-burst 100MB', 'that sends no faster'],
    ],
  })
    .addOption(
      new Option('--topology <topology>', 'a namespace with a TAP, one for processes, or one on the shared bridge')
        .choices(['microvm', 'netns', 'bridge'])
        .makeOptionMandatory(),
    )
    .option(
      '--count <n>',
      'how many, all or none as long as the daemon lives; only without an id',
      integer('--count'),
      1,
    );
  addSpecificationOptions(command)
    .option('--via <tunnel>', 'the one way out, of /etc/culvert/tunnels; with --group that of all of the group')
    .action(create);
}

async function create(id: string | undefined, { json, topology, count, via, ...given }: Options): Promise<void> {
  if (count < 1 || count > COUNT_MAX) {
    throw new InputError('usage', `Cannot create ${count} sandboxes: want 1 to ${COUNT_MAX}`, { field: 'count' });
  }
  if (id !== undefined && count > 1) {
    throw new InputError('usage', `Cannot give the id ${id} to ${count} sandboxes: leave it away, or --count`);
  }
  const { egress, allow, deny, group } = given;
  const request: CreateBody = {
    topology,
    ...(id === undefined ? {} : { id }),
    ...(saysRates(given) && { rates: ratesOf(given) }),
    ...(group && { group }),
    ...(via === undefined ? {} : { via }),
    ...(saysPolicy(given) && { policy: { ...(egress && { egress }), ...(allow && { allow }), ...(deny && { deny }) } }),
  };
  using client = clientOf(given);
  const sandboxes = await createMany(client, request, count, json === true);
  if (json) printJson(sandboxes);
  else printSandboxes(sandboxes);
}

/** All or none: when a later batch fails, or somebody interrupts, what was made until then is removed. */
async function createMany(
  client: CulvertClient,
  request: CreateBody,
  count: number,
  json: boolean,
): Promise<SandboxResource[]> {
  // one that was asked for by its id may have been there before
  if (request.id !== undefined) return client.create(request);
  if (count > BATCH) await assertRoom(client, request.topology, count);
  const made: SandboxResource[] = [];
  using progress = count > BATCH ? new Progress('Creating sandboxes', count, { json }) : undefined;
  // who interrupts a second time does not want to wait
  const interruption = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => interruption.abort(signal);
  for (const signal of SIGNALS) process.once(signal, interrupt);
  try {
    while (made.length < count) {
      made.push(...(await client.create({ ...request, count: Math.min(BATCH, count - made.length) })));
      progress?.update(made.length);
      if (interruption.signal.aborted) {
        throw new CulvertError('interrupted', `${String(interruption.signal.reason)} came`);
      }
    }
    return made;
  } catch (error) {
    if (made.length === 0 || !(error instanceof CulvertError)) throw error;
    const what = `Cannot create ${count} sandboxes`;
    await takeBack(client, made, what, error);
    throw new CulvertError(error.code, `${what}: after ${made.length}, which are removed: ${error.message}`);
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}

/** What cannot go well is refused before anything is made; the daemon has the last word. */
async function assertRoom(client: CulvertClient, topology: CreateBody['topology'], count: number): Promise<void> {
  const { freeSlots, warm } = await client.status();
  const free = freeSlots + warm[topology];
  if (count <= free) return;
  throw new CulvertError('slots_exhausted', `Cannot create ${count} sandboxes: ${free} slots are free`);
}

async function takeBack(
  client: CulvertClient,
  made: readonly SandboxResource[],
  what: string,
  reason: CulvertError,
): Promise<void> {
  const ids = made.map(({ id }) => id);
  try {
    for (let start = 0; start < ids.length; start += BATCH) await client.remove(ids.slice(start, start + BATCH));
  } catch (error) {
    const left = `${ids.length} that were made may be left, see culvert ls`;
    const message = `${what}: ${reason.message}; and ${left}: ${(error as Error).message}`;
    throw new CulvertError('create_incomplete', message, { cause: reason });
  }
}
