import { parentPort, workerData } from 'node:worker_threads';
import { Core, type CoreOptions } from './core.ts';
import { type Answer, type Call, type Notice, wireError } from './wire.ts';

/*
 * The one thread that writes leases and kernel. Calls are carried out in the order they came; between them it does a
 * little of the work that nobody waits for. Everything here is synchronous: a namespace belongs to the thread that
 * entered it, and a pause inside one would leave others in it.
 */

/** How long it rests when nothing is to be done: the tick of quarantine and clean-up. */
const IDLE_MS = 20;

const port = parentPort;
if (port === null) throw new Error('kernel-thread.ts runs as a worker');

const queue: Call[] = [];
let core: Core | undefined;
let scheduled: NodeJS.Immediate | undefined;
let resting: NodeJS.Timeout | undefined;

function tell(message: Answer | Notice): void {
  port?.postMessage(message);
}

function answer({ id, method, parameters }: Call, engine: Core): void {
  try {
    const operation = engine[method] as (...given: unknown[]) => unknown;
    tell({ id, result: operation.apply(engine, parameters) });
  } catch (error) {
    tell({ id, error: wireError(error) });
  }
}

function run(engine: Core): void {
  scheduled = undefined;
  for (let call = queue.shift(); call !== undefined; call = queue.shift()) answer(call, engine);
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
