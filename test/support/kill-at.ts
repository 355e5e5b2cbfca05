import fs from 'node:fs';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';

/*
 * Steps of a process, counted over all its threads, so that it can be killed at one that is told by its number:
 *
 *     KILL_BEGIN     `start`: from its start on; otherwise from when it is told to begin
 *     KILL_AT        `before 7` or `after 7`; absent: never
 *     KILL_LOG       a file that has a line for each step, in the end
 *
 * Or so that it can be looked at after each of them:
 *
 *     KILL_STOPS     a file that has a line for each step as it is done; then the process stops itself (SIGSTOP)
 */

const { KILL_BEGIN = 'start', KILL_AT = '', KILL_LOG, KILL_STOPS } = process.env;
const [when, nth] = KILL_AT.split(' ');

const SHARED = 'culvert-kill-steps';
/** of `shared`: whether steps are counted, and how many there were */
const [BEGUN, COUNT] = [0, 1];
if (isMainThread) {
  setEnvironmentData(SHARED, new SharedArrayBuffer(8));
}
const shared = new Int32Array(getEnvironmentData(SHARED) as SharedArrayBuffer);
if (isMainThread) shared[BEGUN] = Number(KILL_BEGIN === 'start');

const { writeSync } = fs;
const log = KILL_LOG === undefined ? undefined : fs.openSync(KILL_LOG, 'a');
const stops = KILL_STOPS === undefined ? undefined : fs.openSync(KILL_STOPS, 'a');

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // nothing of this thread goes on until it is dead
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** Counts a step, dies before it where it is the one, and says whether to die after it. */
function begin(what: string): boolean {
  if (Atomics.load(shared, BEGUN) === 0) return false;
  const number = Atomics.add(shared, COUNT, 1) + 1;
  if (log !== undefined) writeSync(log, `${number} ${what}\n`);
  if (String(number) !== nth) return false;
  if (when === 'before') die();
  return true;
}

export function step<T>(what: string, body: () => T): T {
  const dies = begin(what);
  const result = body();
  if (dies) die();
  if (stops !== undefined) {
    writeSync(stops, `${what}\n`);
    process.kill(process.pid, 'SIGSTOP');
  }
  return result;
}

export async function stepSlowly<T>(what: string, body: () => Promise<T>): Promise<T> {
  const dies = begin(what);
  const result = await body();
  if (dies) die();
  return result;
}

/** From now on steps count. */
export function beginSteps(): void {
  Atomics.store(shared, BEGUN, 1);
}

type Functions = Record<string, (...given: never[]) => unknown>;

/** Puts a function around one that an object has. */
export function wrap(
  target: object,
  name: string,
  around: (call: () => unknown, given: readonly unknown[]) => unknown,
): void {
  const functions = target as Functions;
  const inner = functions[name];
  if (inner === undefined) throw new Error(`There is no ${name} to count`);
  functions[name] = function (this: unknown, ...given: never[]) {
    return around(() => inner.apply(this, given), given);
  };
}
