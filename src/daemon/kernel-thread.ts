import { parentPort, workerData } from 'node:worker_threads';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { Core, type CoreOptions } from './core.ts';
import type { CreateRequest } from './engine.ts';
import { type Answer, type Call, type Notice, wireError } from './wire.ts';

/*
 * The one thread that writes leases and kernel. Calls are carried out in the order they came; between them it does a
 * little of the work that nobody waits for. Everything here is synchronous: a namespace belongs to the thread that
 * entered it, and a pause inside one would leave others in it.
 */

/** How long it rests when nothing is to be done: the tick of quarantine and clean-up. */
const IDLE_MS = 20;

/** Few enough that the first of them does not wait long for the last. */
const CREATIONS_TOGETHER = 16;

type CreateCall = Call & { readonly method: 'create'; readonly parameters: [readonly CreateRequest[]] };

function isCreate(call: Call): call is CreateCall {
  return call.method === 'create';
}

const port = parentPort;
if (port === null) throw new Error('kernel-thread.ts runs as a worker');

const queue: Call[] = [];
let core: Core | undefined;
let scheduled: NodeJS.Immediate | undefined;
let resting: NodeJS.Timeout | undefined;
/** Then there is no work that nobody waits for: what it would put back would stay for good. */
let isPurged = false;

function tell(message: Answer | Notice): void {
  port?.postMessage(message);
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

/** Creations that came one after the other, from one or many, share a commit and a transaction of nf_tables. */
function takeCreations(): CreateCall[] {
  const calls: CreateCall[] = [];
  let requests = 0;
  for (let next = queue[0]; next !== undefined && isCreate(next); next = queue[0]) {
    requests += next.parameters[0].length;
    if (calls.length > 0 && requests > CREATIONS_TOGETHER) break;
    calls.push(next);
    queue.shift();
  }
  return calls;
}

function answerCreations(calls: readonly CreateCall[], engine: Core): void {
  let sandboxes: Sandbox[];
  try {
    sandboxes = engine.create(calls.flatMap(({ parameters: [requests] }) => requests));
  } catch {
    // All or none holds for each call by itself: whose fault it was shows when each is tried alone.
    for (const call of calls) answer(call, engine);
    return;
  }
  for (const { id, parameters } of calls) tell({ id, result: sandboxes.splice(0, parameters[0].length) });
}

function run(engine: Core): void {
  scheduled = undefined;
  while (queue.length > 0) {
    const creations = takeCreations();
    if (creations.length > 1) answerCreations(creations, engine);
    else if (creations[0] !== undefined) answer(creations[0], engine);
    const call = queue.shift();
    if (call !== undefined) answer(call, engine);
  }
  if (isPurged) return;
  let more = false;
  try {
    more = engine.step();
  } catch (error) {
    tell({ notice: 'problem', error: wireError(error) });
  }
  if (more) wake(engine);
  else resting = setTimeout(() => wake(engine), IDLE_MS);
}

function wake(engine: Core): void {
  clearTimeout(resting);
  scheduled ??= setImmediate(() => run(engine));
}

try {
  const options = workerData as Omit<CoreOptions, 'emit'>;
  const engine = new Core({ ...options, emit: (event) => tell({ notice: 'event', event }) });
  core = engine;
  port.on('message', (message: Call | 'close') => {
    if (message === 'close') {
      clearTimeout(resting);
      clearImmediate(scheduled);
      core?.[Symbol.dispose]();
      port.close();
      return;
    }
    queue.push(message);
    wake(engine);
  });
  tell({ notice: 'ready' });
  wake(engine);
} catch (error) {
  tell({ notice: 'failed', error: wireError(error) });
  port.close();
}
