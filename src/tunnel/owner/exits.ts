/** What is to be done when the process ends, however that is said to it, what was said last first; all of it is synchronous. */
const pending = new Set<() => void>();

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

let isListening = false;

/** @returns how to take it back */
export function onExit(body: () => void): () => void {
  pending.add(body);
  listen();
  return () => void pending.delete(body);
}

function listen(): void {
  if (isListening) return;
  isListening = true;
  // normal ends, process.exit(), and errors that nobody catches
  process.on('exit', runAll);
  for (const signal of SIGNALS) process.on(signal, onSignal);
}

/** A program that has its own way to end at a signal ends by it; one that has not ends as it would have. */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  runAll();
  process.removeListener(signal, onSignal);
  process.kill(process.pid, signal);
}

function runAll(): void {
  // a program that was started after its tunnel was begun ends before that is taken away
  for (const body of [...pending].toReversed()) {
    pending.delete(body);
    try {
      body();
    } catch (error) {
      process.stderr.write(`culvert: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
}
