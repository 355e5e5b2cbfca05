import { readFileSync } from 'node:fs';

/** A process, told apart from one that has its number later: ids are given again. */
export type ProcessId = {
  readonly pid: number;
  /** when it began, in ticks since the boot; field 22 of proc(5) */
  readonly startTicks: number;
};

/** The fields of /proc/PID/stat after the name, which may hold anything, begin with the third. */
const STATE = 3;
const THREADS = 20;
const START = 22;
/** what has ended and was not waited for, and what is about to be no more; and a first thread that has ended before others */
const ENDED: readonly string[] = ['Z', 'X', 'x'];

/** undefined where there is none, or it has ended */
export function processOf(pid: number): ProcessId | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(String((error as NodeJS.ErrnoException).code))) return undefined;
    throw error;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // as long as there is another thread all that the process has open stays so
  if (ENDED.includes(fields[0] ?? '') && Number(fields[THREADS - STATE]) <= 1) return undefined;
  return { pid, startTicks: Number(fields[START - STATE]) };
}

export function isRunning({ pid, startTicks }: ProcessId): boolean {
  return processOf(pid)?.startTicks === startTicks;
}
