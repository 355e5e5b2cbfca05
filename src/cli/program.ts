import { Command } from 'commander';
import { addBench } from './commands/bench.ts';
import { addCreate } from './commands/create.ts';
import { addDown } from './commands/down.ts';
import { addEvents } from './commands/events.ts';
import { addExec } from './commands/exec.ts';
import { addInspect } from './commands/inspect.ts';
import { addLeases } from './commands/leases.ts';
import { addLs } from './commands/ls.ts';
import { addReconcile } from './commands/reconcile.ts';
import { addRm } from './commands/rm.ts';
import { addSet } from './commands/set.ts';
import { addStatus } from './commands/status.ts';
import { addUp } from './commands/up.ts';
import { readVersion } from './version.ts';

const COMMANDS = [
  addUp,
  addDown,
  addStatus,
  addCreate,
  addSet,
  addRm,
  addLs,
  addInspect,
  addExec,
  addLeases,
  addReconcile,
  addEvents,
  addBench,
];

/** Every command, with its help. Throws CommanderError instead of ending the process. */
export function createProgram(): Command {
  const program = new Command('culvert')
    .description('Networks for sandboxes: one daemon per host, a network per sandbox')
    .version(readVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print the help of a command')
    .exitOverride()
    // What is wrong is told once, where every error ends.
    .configureOutput({ outputError: () => undefined });
  for (const add of COMMANDS) add(program);
  program.addHelpText(
    'after',
    `
Every command takes --help, --json, and --socket PATH or CULVERT_SOCKET (default /run/culvert/api.sock).
Exit codes: 0 done, 1 failed, 2 wrong use.`,
  );
  return program;
}
