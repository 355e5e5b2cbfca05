import { randomBytes } from 'node:crypto';
import { type Command, Option } from 'commander';
import type { SandboxResource } from '../../api/client/client.ts';
import { CulvertError, InputError } from '../../errors.ts';
import { addClientCommand, type Common, clientOf, integer } from '../command.ts';
import { printJson, printTable } from '../output.ts';
import { Progress } from '../progress.ts';
import { type Figures, figuresOf } from '../timing.ts';

type Options = Common & {
  readonly topology: SandboxResource['topology'];
  readonly count: number;
  readonly parallel: number;
};

const COUNT_MAX = 10_000;
const PARALLEL_MAX = 32;

export function addBench(program: Command): void {
  addClientCommand(program, {
    usage: 'bench',
    summary: 'Create and remove sandboxes on a running daemon, and say how long it took',
    details:
      'Each request is for one sandbox, as a platform would send it, and is timed from here. What is created is removed again, also when it is interrupted.',
    examples: [
      ['culvert bench', '200, one after the other'],
      ['culvert bench --topology microvm --count 1000 --parallel 8', 'eight at a time'],
    ],
  })
    .addOption(
      new Option('--topology <topology>', 'of the sandboxes').choices(['microvm', 'netns', 'bridge']).default('netns'),
    )
    .option('--count <n>', 'how many', integer('--count'), 200)
    .option('--parallel <n>', 'how many requests are under way at a time', integer('--parallel'), 1)
    .action(bench);
}

async function bench({ json, topology, count, parallel, ...options }: Options): Promise<void> {
  assertRange('count', count, COUNT_MAX);
  assertRange('parallel', parallel, PARALLEL_MAX);
  using client = clientOf(options);
  const run = randomBytes(4).toString('hex');
  const ids = Array.from({ length: count }, (_, index) => `bench-${run}-${index + 1}`);
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const made: string[] = [];
  const create = async (id: string): Promise<void> => {
    await client.create({ id, topology });
    made.push(id);
  };
  const remove = (id: string): Promise<unknown> => client.remove([id]);
  let created: Figures;
  try {
    created = await timed('Creating', ids, parallel, { json, signal: interrupt.signal }, create);
  } catch (error) {
    await timed('Removing', made, parallel, { json }, remove).catch((last: unknown) => {
      throw left(run, error, last);
    });
    throw error;
  }
  const removed = await timed('Removing', made, parallel, { json }, remove).catch((error: unknown) => {
    throw left(run, error);
  });
  report({ topology, parallel, created, removed }, json === true);
}

/** Such as when the daemon dies in between. */
function left(run: string, ...errors: unknown[]): CulvertError {
  const reasons = new Set(errors.map((error) => (error instanceof Error ? error.message : String(error))));
  const what = `sandboxes whose ids begin with bench-${run}- may be left, see culvert ls`;
  return new CulvertError('bench_incomplete', `Cannot go on, and ${what}: ${[...reasons].join('; ')}`, {
    cause: errors[0],
  });
}

/** Does `work` for every item, `parallel` at a time; none is under way any more when it returns or throws. */
async function timed(
  label: string,
  items: readonly string[],
  parallel: number,
  { json, signal }: { readonly json: true | undefined; readonly signal?: AbortSignal },
  work: (item: string) => Promise<unknown>,
): Promise<Figures> {
  const times: number[] = [];
  const failures: unknown[] = [];
  const queue = items.values();
  using progress = new Progress(label, items.length, { json: json === true });
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      if (signal?.aborted === true || failures.length > 0) return;
      const began = performance.now();
      await work(item);
      times.push(performance.now() - began);
      progress.update(times.length);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: parallel }, () => worker().catch((error: unknown) => failures.push(error))));
  if (failures.length > 0) throw failures[0];
  return figuresOf(times, performance.now() - start);
}

type Report = {
  readonly topology: string;
  readonly parallel: number;
  readonly created: Figures;
  readonly removed: Figures;
};

function report({ topology, parallel, created, removed }: Report, json: boolean): void {
  if (json) {
    printJson({ topology, parallel, create: created, remove: removed });
    return;
  }
  const row = (what: string, { count, perSecond, p50Ms, p99Ms, maxMs }: Figures): string[] => {
    const times = [p50Ms, p99Ms, maxMs].map((time) => time.toFixed(2));
    return [`${what} ${topology}`, String(count), String(parallel), perSecond.toFixed(0), ...times];
  };
  printTable(
    ['WHAT', 'COUNT', 'AT A TIME', 'PER SECOND', 'P50 MS', 'P99 MS', 'MAX MS'],
    [row('create', created), row('remove', removed)],
  );
}

function assertRange(name: string, value: number, max: number): void {
  if (value >= 1 && value <= max) return;
  throw new InputError('usage', `Cannot use ${value} as --${name}: want 1 to ${max}`, { field: name });
}
