import { execFile } from 'node:child_process';
import { availableParallelism, loadavg, release } from 'node:os';
import { inspect, parseArgs, promisify } from 'node:util';
import { print, printJson, printTable } from '../src/cli/output.ts';
import type { Crowd } from './crowd.ts';
import { type Figure, formatNumber, isMet, measuredText, ratioText, referenceText, targetText } from './figure.ts';
import type { Profile } from './processor-time.ts';
import type { Bench, Row } from './row.ts';
import { FULL, QUICK } from './scale.ts';
import { Stage } from './stage.ts';

const TOUCH = new URL('touch-memory.ts', import.meta.url).pathname;
/** Of the memory that is free: the most that is touched before a run. */
const TOUCHED_SHARE = 0.6;

/** A command that measures rows of one table. */
export type BenchProgram = {
  /** as in `npm run NAME` */
  readonly name: string;
  readonly summary: string;
  /** in the order in which they are measured */
  readonly rows: readonly Row[];
  /** whether memory is touched first, for who makes ten thousand sandboxes */
  readonly touchesMemory: boolean;
};

function usageOf({ name, summary, rows }: BenchProgram): string {
  return `usage: npm run ${name} -- [--quick] [--json] [ROW...]

${summary}

  --quick   small counts: to see that it works, not what it measures
  --json    print JSON

rows, all of them where none is named:
${rows.map((row) => `  ${row.name.padEnd(12)}${row.summary}`).join('\n')}`;
}

function chooseRows(rows: readonly Row[], names: readonly string[]): readonly Row[] {
  const unknown = names.filter((name) => !rows.some((row) => row.name === name));
  if (unknown.length > 0) throw new TypeError(`No such row: ${unknown.join(', ')}`);
  return names.length === 0 ? rows : rows.filter(({ name }) => names.includes(name));
}

function readArguments({ rows }: BenchProgram): { rows: readonly Row[]; quick: boolean; json: boolean; help: boolean } {
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    options: { quick: flag, json: flag, help: { ...flag, short: 'h' } },
    allowPositionals: true,
  });
  return { ...values, rows: chooseRows(rows, positionals) };
}

type Result = {
  readonly figures: readonly Figure[];
  readonly profiles: readonly Profile[];
  /** rows that could not be measured */
  readonly failed: readonly string[];
};

async function run({ touchesMemory }: BenchProgram, rows: readonly Row[], quick: boolean): Promise<Result> {
  using stage = new Stage();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      stage.abandon();
      process.exit(1);
    });
  }
  const scale = quick ? QUICK : FULL;
  if (touchesMemory) await touchMemory(scale.touchedBytes);
  using lasting = new DisposableStack();
  let crowd: Promise<Crowd> | undefined;
  const grow = async (): Promise<Crowd> => {
    // what it takes is not everywhere where rows are measured that take none
    const { growCrowd } = await import('./crowd.ts');
    const grown = await growCrowd(stage, scale);
    lasting.use(grown.culvert);
    return grown;
  };
  const profiles: Profile[] = [];
  const bench: Bench = { stage, scale, crowd: () => (crowd ??= grow()), profile: (one) => void profiles.push(one) };
  const figures: Figure[] = [];
  const failed: string[] = [];
  const told = new Set<unknown>();
  for (const row of rows) {
    const { name } = row;
    say(`${name} ...`);
    const begin = performance.now();
    try {
      figures.push(...(await row.run(bench)));
      await stage.cleanedUp();
      say(`${name} took ${((performance.now() - begin) / 1000).toFixed(1)} s`);
    } catch (error) {
      failed.push(name);
      say(`${name} failed: ${told.has(error) ? 'for the same reason' : inspect(error)}`);
      told.add(error);
    }
  }
  return { figures, profiles, failed };
}

async function touchMemory(bytes: number): Promise<void> {
  const most = process.availableMemory() * TOUCHED_SHARE;
  await promisify(execFile)(process.execPath, [TOUCH, String(Math.min(bytes, most))]);
}

function show(figures: readonly Figure[]): void {
  const words = { true: 'met', false: 'NOT met', undefined: '' };
  printTable(
    ['figure', 'measured', 'against', 'ratio', 'target', ''],
    figures.map((figure) => [
      figure.figure,
      measuredText(figure),
      referenceText(figure),
      ratioText(figure),
      targetText(figure),
      words[`${isMet(figure)}`],
    ]),
  );
}

function showProfiles(profiles: readonly Profile[]): void {
  printTable(
    ['where the time goes', 'elapsed', 'thread', 'processor', 'of it in the kernel', 'waits for a processor'],
    profiles.flatMap(({ of, unit, elapsed, threads }) =>
      threads.map(({ name, processor, system, waiting }, index) => [
        ...(index === 0 ? [of, `${formatNumber(elapsed)} ${unit}`] : ['', '']),
        name,
        ...[processor, system, waiting].map((value) => `${formatNumber(value)} ${unit}`),
      ]),
    ),
  );
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Does what its command line says, and prints what was measured. */
export async function runProgram(program: BenchProgram): Promise<void> {
  let given: ReturnType<typeof readArguments>;
  try {
    given = readArguments(program);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usageOf(program)}\n`);
    process.exit(2);
  }
  if (given.help) {
    print(usageOf(program));
    return;
  }
  const machine = { kernel: release(), processors: availableParallelism(), loadBefore: loadavg()[0] ?? 0 };
  const { figures, profiles, failed } = await run(program, given.rows, given.quick);
  if (given.json) {
    printJson({ ...machine, figures: figures.map((figure) => ({ ...figure, met: isMet(figure) })), profiles, failed });
  } else {
    show(figures);
    if (profiles.length > 0) print('');
    if (profiles.length > 0) showProfiles(profiles);
    const load = machine.loadBefore.toFixed(1);
    print(`Linux ${machine.kernel}, ${machine.processors} processors, load average before the run ${load}`);
  }
  process.exitCode = failed.length === 0 ? 0 : 1;
}
