import { type ChildProcess, spawn } from 'node:child_process';
import type { Command, CommanderError } from 'commander';
import type { CulvertClient } from '../../api/client/client.ts';
import { CulvertError, InputError } from '../../errors.ts';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { ExitError } from '../failure.ts';

/** Signals that are passed on to the command, whoever they come from. */
const SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/** A terminal sends these to the command as well as to us. */
const TERMINAL_SIGNALS = ['SIGINT', 'SIGQUIT'] as const;

/** As a shell says it, POSIX.1-2017, 2.8.2 */
const EXIT_NOT_EXECUTABLE = 126;
const EXIT_NOT_FOUND = 127;

export function addExec(program: Command): void {
  addClientCommand(program, {
    usage: 'exec <id> <command...>',
    summary: 'Run a command inside a sandbox’s network',
    details:
      'It gets the network namespace and nothing else: files, user and environment are yours. In a microVM’s only its guest speaks with the outside. Exits as the command does, with 127 where there is no such command and 126 where it cannot be run. Needs root.',
    examples: [
      ['culvert exec build-42 -- ip address', 'see what it has'],
      ['culvert exec job-7 -- curl -sI https://example.org', 'reach out from one that is no microvm'],
      ['culvert exec build-42 -- bash', 'look around'],
    ],
  })
    .exitOverride(hintAtDashes)
    .action(exec);
}

/** An option of the command’s own reads as one of ours. */
function hintAtDashes(error: CommanderError): never {
  if (error.code !== 'commander.unknownOption') throw error;
  const said = error.message.replace(/^error: /, '');
  const remedy = 'put -- before the command, as in culvert exec build-42 -- ip -br address';
  throw new InputError('usage', `Cannot read the command line: ${said}; ${remedy}`);
}

async function exec(id: string, [command = '', ...parameters]: string[], options: Common): Promise<void> {
  const { child, stop } = await start(id, command, parameters, options);
  const { promise, resolve, reject } = Promise.withResolvers<[code: number | null, signal: NodeJS.Signals | null]>();
  child.once('error', reject).once('exit', (...end) => resolve(end));
  try {
    const [code, signal] = await promise;
    stop();
    // Whoever waits for us sees what became of the command.
    if (signal === null) process.exitCode = code ?? 0;
    else process.kill(process.pid, signal);
  } catch (cause) {
    stop();
    throw refused(command, cause as NodeJS.ErrnoException);
  }
}

type Started = {
  readonly child: ChildProcess;
  /** ends the passing on of signals */
  readonly stop: () => void;
};

async function start(id: string, command: string, parameters: string[], options: Common): Promise<Started> {
  const { isNamespace, NamespaceHandle } = await import('../../linux/namespace.ts');
  using client = clientOf(options);
  const sandbox = await client.inspect(id);
  const { netns } = sandbox;
  if (!isNamespace(netns)) {
    throw new CulvertError('namespace_unseen', `Cannot enter sandbox ${id}: no namespace is to be seen at ${netns}`);
  }
  using namespace = new NamespaceHandle(netns);
  await assertSameLife(client, sandbox);
  let child: ChildProcess | undefined;
  // Before the command is there: a signal that comes as soon as it shows itself must not end us in its stead. None is
  // handled before this has returned.
  const stop = passSignals((signal) => child?.kill(signal));
  try {
    // spawn() forks before it returns, so the child is born inside.
    child = namespace.run(() => spawn(command, parameters, { stdio: 'inherit', env: environment() }));
  } catch (error) {
    stop();
    throw error;
  }
  return { child, stop };
}

/** What the launcher sets is for this process and its threads, and no business of the command. */
function environment(): NodeJS.ProcessEnv {
  const variables = { ...process.env };
  delete variables['NODE_COMPILE_CACHE'];
  return variables;
}

/** Between the answer and the opening of the pin, the slot may have become another sandbox's. */
async function assertSameLife(
  client: CulvertClient,
  { id, slot, generation }: Awaited<ReturnType<CulvertClient['inspect']>>,
): Promise<void> {
  const now = await client.inspect(id);
  if (now.slot === slot && now.generation === generation) return;
  throw new CulvertError('sandbox_replaced', `Cannot enter sandbox ${id}: it was removed and made again just now`);
}

/** @returns what ends it */
function passSignals(to: (signal: NodeJS.Signals) => void): () => void {
  const pass = (signal: NodeJS.Signals): void => to(signal);
  const passFromOthers = process.stdin.isTTY ? (): void => undefined : pass;
  for (const signal of SIGNALS) process.on(signal, pass);
  for (const signal of TERMINAL_SIGNALS) process.on(signal, passFromOthers);
  return () => {
    for (const signal of SIGNALS) process.off(signal, pass);
    for (const signal of TERMINAL_SIGNALS) process.off(signal, passFromOthers);
  };
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such command',
  EACCES: 'it is no file that may be executed (EACCES)',
  ENOEXEC: 'it is no program, nor begins with #! (ENOEXEC)',
  E2BIG: 'arguments and environment are too long (E2BIG)',
};

function refused(command: string, cause: NodeJS.ErrnoException): ExitError {
  const { code = '', message } = cause;
  const why = REASONS[code] ?? message;
  const exitCode = code === 'ENOENT' ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
  return new ExitError('command_failed', `Cannot run ${command}: ${why}`, exitCode, cause);
}
