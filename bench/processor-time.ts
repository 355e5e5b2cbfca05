import { readdirSync, readFileSync } from 'node:fs';

/** What a thread has had of the processors, in ms. */
export type ThreadTime = {
  /** as `top -H` shows it; those of one name are taken together */
  readonly name: string;
  readonly processor: number;
  /** of that, in the kernel; read in ticks of 10 ms */
  readonly system: number;
  /** in which it could have gone on and all processors were others' */
  readonly waiting: number;
};

/** Of everything that ran, the kernel's own threads too. It stands among the threads where none can be. */
const WHOLE = { thread: 0, name: 'all that ran on the machine' };

/** sysconf(_SC_CLK_TCK), which is 100 on every Linux */
const TICK_MS = 10;
const NS_PER_MS = 1e6;
/** Of all that a process has used: who has less than this is not told of. */
const LEAST_SHARE = 0.01;

/** Where the time of one thing went that was done again and again. */
export type Profile = {
  readonly of: string;
  readonly unit: string;
  /** from its beginning to its end */
  readonly elapsed: number;
  readonly threads: readonly ThreadTime[];
};

/** What every thread of a process has had since it began, and the whole machine since it was booted, see proc(5). */
export function threadTimes(pid: number): Map<number, ThreadTime> {
  const folder = `/proc/${pid}/task`;
  const threads = readdirSync(folder).flatMap((thread) => {
    const time = threadTime(`${folder}/${thread}`);
    return time === undefined ? [] : [[Number(thread), time] as const];
  });
  return new Map([...threads, [WHOLE.thread, machineTime()]]);
}

function machineTime(): ThreadTime {
  const [, ...ticks] = (readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '').split(/ +/);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = ticks.map((count) => Number(count) * TICK_MS);
  const inKernel = system + irq + softirq;
  return { name: WHOLE.name, processor: user + nice + inKernel, system: inKernel, waiting: 0 };
}

/** Undefined where the thread has ended since it was listed. */
function threadTime(folder: string): ThreadTime | undefined {
  const [schedstat, stat] = ['schedstat', 'stat'].map((file) => readIfThere(`${folder}/${file}`));
  if (schedstat === undefined || stat === undefined) return undefined;
  const [processor = 0, waiting = 0] = schedstat.split(' ').map(Number);
  // a name may hold anything, so what follows the last parenthesis counts: state is the first, stime the thirteenth
  const nameEnd = stat.lastIndexOf(')');
  const name = stat.slice(stat.indexOf('(') + 1, nameEnd);
  const stime = Number(stat.slice(nameEnd + 2).split(' ')[12]);
  return { name, processor: processor / NS_PER_MS, system: stime * TICK_MS, waiting: waiting / NS_PER_MS };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(String((error as NodeJS.ErrnoException).code))) return undefined;
    throw error;
  }
}

/** Adds up, by name, what threads have had between two readings, several times over. */
export class ProcessorTime {
  readonly #spent = new Map<string, ThreadTime>();

  add(before: ReadonlyMap<number, ThreadTime>, after: ReadonlyMap<number, ThreadTime>): void {
    for (const [thread, to] of after) {
      const from = before.get(thread);
      const had = this.#spent.get(to.name);
      const sum = (part: 'processor' | 'system' | 'waiting'): number =>
        (had?.[part] ?? 0) + to[part] - (from?.[part] ?? 0);
      this.#spent.set(to.name, {
        name: to.name,
        processor: sum('processor'),
        system: sum('system'),
        waiting: sum('waiting'),
      });
    }
  }

  /** By thread, those that had the most first, each multiplied by `factor`. */
  times(factor: number): ThreadTime[] {
    const all = [...this.#spent.values()];
    const total = all.reduce((sum, { name, processor }) => sum + (name === WHOLE.name ? 0 : processor), 0);
    return all
      .filter(({ processor }) => processor >= total * LEAST_SHARE)
      .toSorted((a, b) => b.processor - a.processor)
      .map(({ name, processor, system, waiting }) => ({
        name,
        processor: processor * factor,
        system: system * factor,
        waiting: waiting * factor,
      }));
  }
}
