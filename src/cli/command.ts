import { type Command, InvalidArgumentError, Option } from 'commander';
import { CulvertClient } from '../api/client/client.ts';

const DEFAULT_SOCKET = '/run/culvert/api.sock';

/** What every command is given beside its own. */
export type Common = { readonly json?: true };

type Client = { readonly socket: string };

type Introduction = {
  /** The name and the operands, such as `rm <ids...>`. */
  readonly usage: string;
  readonly summary: string;
  /** What else is worth knowing, below the summary. */
  readonly details?: string;
  /** Command lines with what they are for. */
  readonly examples: readonly (readonly [command: string, purpose: string])[];
};

/** A command that runs by itself: it takes `--json`, and its help ends in examples. */
export function addCommand(parent: Command, { usage, summary, details, examples }: Introduction): Command {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, purpose]) => `  ${line.padEnd(width)}  ${purpose}`);
  return parent
    .command(usage)
    .summary(summary)
    .description(details === undefined ? summary : `${summary}\n\n${details}`)
    .option('--json', 'print JSON, errors too')
    .addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}

/** A command that asks a daemon: it takes `--socket` too. */
export function addClientCommand(parent: Command, introduction: Introduction): Command {
  return addCommand(parent, introduction).addOption(
    new Option('--socket <path>', 'the daemon’s socket').env('CULVERT_SOCKET').default(DEFAULT_SOCKET),
  );
}

/** The client for a command's `--socket`; dispose of it, or its connections keep the process up. */
export function clientOf(options: object, timeout: { readonly timeoutMs?: number } = {}): CulvertClient {
  return new CulvertClient({ socketPath: (options as Client).socket }, timeout);
}

/** An option's reader for a number; what is out of range the daemon says. */
export function integer(name: string): (text: string) => number {
  return (text) => {
    if (/^[0-9]{1,15}$/.test(text)) return Number(text);
    throw new InvalidArgumentError(`${name} is a whole number.`);
  };
}
