import { writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { parentPort } from 'node:worker_threads';
import { type WireError, wireError } from '../wire-error.ts';
import { Core } from './core.ts';
import type { ThreadOptions } from './core-options.ts';
import { Outbox } from './outbox.ts';
import type { Answer, Call, Notice } from './wire.ts';

/*
 * The one thread that writes leases, and the kernel but for what its helper does by its order. Calls are carried out in
 * the order they came; between them it does a little of the work that nobody waits for. Everything here is synchronous:
 * a namespace belongs to the thread that entered it, and a pause inside one would leave others in it.
 */

/** How long it rests after a start: who waited for the daemon to be back comes before what can wait. */
const START_REST_MS = 100;

/**
 * How long after an answer work that nobody waits for begins: those who waited go on first, and have the processor for
 * it. No more, so that requests without a pause keep nothing from being cleared up.
 */
const ANSWER_REST_MS = 2;

/** Few enough that the first of them does not wait long for the last. */
const TOGETHER = { create: 16, remove: 64 } as const;

/** Of what comes in calls that may share a commit: each has a list, and answers with a list as long. */
type Joinable = keyof typeof TOGETHER;
type ListCall = Call & { readonly method: Joinable; readonly parameters: [readonly unknown[]] };

function isJoinable(call: Call): call is ListCall {
  return call.method in TOGETHER;
}

const port = parentPort;
if (port === null) throw new Error('kernel-thread.ts runs as a worker');

const queue: Call[] = [];
const outbox = new Outbox<Answer | Notice>((messages) => port.postMessage(messages));
let answering: NodeJS.Immediate | undefined;
let resting: NodeJS.Timeout | undefined;
let working: NodeJS.Immediate | undefined;
let restsUntilMs = 0;
/** The first rest is whole, whoever asks. */
let hasWorked = false;
/** Then there is no work that nobody waits for: what it would put back would stay for good. */
let isPurged = false;

function tell(message: Answer | Notice): void {
  outbox.add(message);
}

function answer({ id, method, parameters }: Call, engine: Core): void {
  try {
    const operation = engine[method] as (...given: unknown[]) => unknown;
    const result = operation.apply(engine, parameters);
    isPurged ||= method === 'purge';
    tell({ id, result });
  } catch (error) {
    tell({ id, error: wireError(error) });
  }
}

/** Calls for the same that came one after the other, from one or many: they share a commit and a transaction of nf_tables. */
function takeJoined(): ListCall[] {
  const calls: ListCall[] = [];
  let length = 0;
  for (let next = queue[0]; next !== undefined && isJoinable(next); next = queue[0]) {
    const { method } = calls[0] ?? next;
    length += next.parameters[0].length;
    if (next.method !== method || (calls.length > 0 && length > TOGETHER[method])) break;
    calls.push(next);
    queue.shift();
  }
  return calls;
}

function answerJoined(calls: readonly ListCall[], method: Joinable, engine: Core): void {
  const list = calls.flatMap(({ parameters: [one] }) => one);
  const before = engine.changes;
  let results: unknown[] | undefined;
  let failure: WireError | undefined;
  // what two want to remove only the first of them can
  if (method === 'create' || new Set(list).size === list.length) {
    try {
      results = (engine[method] as (list: readonly unknown[]) => unknown[]).call(engine, list);
    } catch (error) {
      // All or none holds for each call by itself: whose fault it was shows when each is tried alone. Where something
      // was done already nothing can be tried again, and all hear why.
      if (engine.changes !== before) failure = wireError(error);
    }
  }
  for (const call of calls) {
    if (failure !== undefined) tell({ id: call.id, error: failure });
    else if (results === undefined) answer(call, engine);
    else tell({ id: call.id, result: results.splice(0, call.parameters[0].length) });
  }
}

function answerAll(engine: Core): void {
  answering = undefined;
  while (queue.length > 0) {
    const joined = takeJoined();
    const call = joined[0] ?? queue.shift();
    if (call === undefined) return;
    if (joined.length > 1 && isJoinable(call)) answerJoined(joined, call.method, engine);
    else answer(call, engine);
    outbox.flush();
  }
  if (hasWorked && performance.now() + ANSWER_REST_MS < restsUntilMs) rest(engine, ANSWER_REST_MS);
}

function work(engine: Core): void {
  // who calls comes first, whichever of the two was asked for earlier
  if (answering !== undefined) {
    clearImmediate(answering);
    answerAll(engine);
  }
  if (isPurged) return;
  if (!hasWorked) engine.hire();
  hasWorked = true;
  rest(engine, engine.step());
  outbox.flush();
}

function rest(engine: Core, ms: number): void {
  clearTimeout(resting);
  clearImmediate(working);
  restsUntilMs = performance.now() + ms;
  // a timer has a millisecond at the least
  if (ms === 0) working = setImmediate(() => work(engine));
  else resting = setTimeout(() => work(engine), ms);
}

/** @param options the first message; all that follow are lists of calls */
function start(options: ThreadOptions | 'close'): void {
  if (options === 'close') {
    port?.close();
    return;
  }
  try {
    const engine = new Core({
      ...options,
      stuck,
      emit: (event) => tell({ notice: 'event', event }),
      tell: (members) => tell({ notice: 'members', members }),
      failed: (error) => tell({ notice: 'problem', error: wireError(error) }),
    });
    port?.on('message', (message: readonly Call[] | 'close') => {
      if (message === 'close') close(engine);
      else {
        queue.push(...message);
        answering ??= setImmediate(() => answerAll(engine));
      }
    });
    tell({ notice: 'ready', names: engine.names.take(), probes: engine.probes?.take() });
    outbox.flush();
    rest(engine, START_REST_MS);
  } catch (error) {
    tell({ notice: 'failed', error: wireError(error) });
    outbox.flush();
    port?.close();
  }
}

/**
 * Ends the daemon where it stands; the next one finds what is there. Not by an exit of this thread: that would wait for
 * the helper's, which does not come back.
 */
function stuck(reason: string): never {
  writeSync(process.stderr.fd, `${reason}\n`);
  process.kill(process.pid, 'SIGKILL');
  // nothing of this thread goes on until it is dead
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function close(engine: Core): void {
  clearTimeout(resting);
  clearImmediate(working);
  clearImmediate(answering);
  engine[Symbol.dispose]();
  outbox.flush();
  port?.close();
}

port.once('message', start);
// A daemon that is killed would leave none of what it compiled to the next, which is to be back at once.
flushCompileCache();
