import { CommanderError } from 'commander';
import { CulvertError, InputError } from '../errors.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** A failure that ends the process with an exit code of its own. */
export class ExitError extends CulvertError {
  readonly exitCode: number;

  constructor(code: string, message: string, exitCode: number, cause: unknown) {
    super(code, message, { cause });
    this.exitCode = exitCode;
  }
}

/** What stops a command is what stands on the host, however well the command was put. */
const NOT_USAGE = new Set([
  'sandbox_unknown',
  'sandbox_exists',
  'lease_unknown',
  'lease_state',
  'not_a_microvm',
  'range_in_use',
  'no_uplink',
  'socket_taken',
  'address_taken',
  'request_timeout',
]);

/** What to do, where the message does not say so itself. */
const ADVICE: Readonly<Record<string, string>> = {
  sandbox_unknown: 'see culvert ls',
  sandbox_exists: 'choose another id, remove that one with culvert rm, or change it with culvert set',
  lease_unknown: 'see culvert leases',
  lease_state: 'see culvert leases explain',
  slots_exhausted: 'remove sandboxes, or raise limits.sandboxes in the config',
  bridge_exhausted: 'remove sandboxes, or use the topology netns',
  range_in_use: 'choose another range in the config',
  name_in_use: 'choose another --name',
  socket_taken: 'stop that daemon with culvert down, or choose another --run-dir',
  daemon_timeout: 'see culvert status, and the daemon’s log',
  namespace_unseen: 'run this where the daemon runs, in its mount namespace',
  internal: 'see the daemon’s log',
};

/** What a person or a machine is told of an error, and the exit code that goes with it. */
export type Failure = {
  readonly exitCode: number;
  readonly code: string;
  readonly message: string;
  readonly field?: string;
  readonly advice?: string;
};

/** Undefined for what is no failure: help and version were asked for and printed. */
export function failureOf(error: unknown): Failure | undefined {
  if (error instanceof CommanderError) return usageFailure(error);
  if (error instanceof CulvertError) {
    const { code, message, field } = error;
    const advice = adviceOn(code, message);
    return {
      exitCode: exitCodeOf(error),
      code,
      message,
      ...(field === undefined ? {} : { field }),
      ...(advice === undefined ? {} : { advice }),
    };
  }
  const message = `Cannot go on, by a defect in Culvert: ${error instanceof Error ? error.message : String(error)}`;
  const advice = process.env['CULVERT_DEBUG'] === undefined ? 'set CULVERT_DEBUG=1 to see where' : undefined;
  return { exitCode: EXIT_FAILED, code: 'internal', message, ...(advice === undefined ? {} : { advice }) };
}

/** One line: what, why, what to do. */
export function failureText({ message, advice }: Failure): string {
  return `culvert: ${message}${advice === undefined ? '' : ` (${advice})`}`.replaceAll(/\s*\n\s*/g, ' ');
}

/** The same for machines, in the shape of the API's. */
export function failureJson({ code, message, field, advice }: Failure): string {
  const error = {
    code,
    message,
    ...(field === undefined ? {} : { field }),
    ...(advice === undefined ? {} : { advice }),
  };
  return JSON.stringify({ error });
}

/** Tells what went wrong, and sets the exit code. */
export function fail(error: unknown, parameters: readonly string[]): void {
  const failure = failureOf(error);
  if (failure === undefined) return;
  process.exitCode = failure.exitCode;
  // Where the command line is what is wrong, there are no parsed options to ask.
  const own = parameters.includes('--') ? parameters.slice(0, parameters.indexOf('--')) : parameters;
  const text = own.includes('--json') ? failureJson(failure) : failureText(failure);
  process.stderr.write(`${text}\n`);
  if (process.env['CULVERT_DEBUG'] !== undefined && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`);
  }
}

function exitCodeOf(error: CulvertError): number {
  if (error instanceof ExitError) return error.exitCode;
  return error instanceof InputError && !NOT_USAGE.has(error.code) ? EXIT_USAGE : EXIT_FAILED;
}

function usageFailure({ code, exitCode, message }: CommanderError): Failure | undefined {
  if (exitCode === 0) return undefined;
  if (code === 'commander.help') {
    return {
      exitCode: EXIT_USAGE,
      code: 'usage',
      message: 'Cannot do anything without a command',
      advice: 'see above',
    };
  }
  const [said = '', ...more] = message.replace(/^error: /, '').split('\n');
  const text = `Cannot read the command line: ${said}${more.length > 0 ? ` ${more.join(' ')}` : ''}`;
  return { exitCode: EXIT_USAGE, code: 'usage', message: text, advice: 'see --help' };
}

function adviceOn(code: string, message: string): string | undefined {
  if (code === 'kernel_refused' && /\b(EPERM|EACCES)\b/.test(message)) return 'run it as root';
  return ADVICE[code];
}
