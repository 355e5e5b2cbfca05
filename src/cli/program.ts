import { Command } from 'commander';
import { readVersion } from './version.ts';

type Add = (program: Command) => void;

/** By name, in the order of the help; each is loaded when it is needed. */
const COMMANDS: Readonly<Record<string, () => Promise<Add>>> = {
  up: async () => (await import('./commands/up.ts')).addUp,
  down: async () => (await import('./commands/down.ts')).addDown,
  status: async () => (await import('./commands/status.ts')).addStatus,
  create: async () => (await import('./commands/create.ts')).addCreate,
  set: async () => (await import('./commands/set.ts')).addSet,
  rm: async () => (await import('./commands/rm.ts')).addRm,
  ls: async () => (await import('./commands/ls.ts')).addLs,
  inspect: async () => (await import('./commands/inspect.ts')).addInspect,
  exec: async () => (await import('./commands/exec.ts')).addExec,
  hosts: async () => (await import('./commands/hosts.ts')).addHosts,
  mesh: async () => (await import('./commands/mesh.ts')).addMesh,
  drain: async () => (await import('./commands/drain.ts')).addDrain,
  undrain: async () => (await import('./commands/undrain.ts')).addUndrain,
  connect: async () => (await import('./commands/connect.ts')).addConnect,
  disconnect: async () => (await import('./commands/disconnect.ts')).addDisconnect,
  tunnels: async () => (await import('./commands/tunnels.ts')).addTunnels,
  leases: async () => (await import('./commands/leases.ts')).addLeases,
  reconcile: async () => (await import('./commands/reconcile.ts')).addReconcile,
  events: async () => (await import('./commands/events.ts')).addEvents,
  bench: async () => (await import('./commands/bench.ts')).addBench,
};

/**
 * What reads a command line that begins with `first`: the command of that name alone or, where none has it, all of
 * them. Throws CommanderError instead of ending the process.
 */
export async function createProgram(first: string | undefined): Promise<Command> {
  const program = new Command('culvert')
    .description('Networks for sandboxes: one daemon per host, a network per sandbox')
    .version(readVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .exitOverride()
    // What is wrong is told once, where every error ends.
    .configureOutput({ outputError: () => undefined });
  const named = first !== undefined && Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
  const wanted = named === undefined ? Object.values(COMMANDS) : [named];
  for (const add of await Promise.all(wanted.map((load) => load()))) add(program);
  addHelp(program);
  program.addHelpText(
    'after',
    `
Every command takes --help, --json, and --socket PATH or CULVERT_SOCKET (default /run/culvert/api.sock).
Exit codes: 0 done, 1 failed, 2 wrong use.`,
  );
  return program;
}

/** Commander’s own prints the general help for a name that it does not know. */
function addHelp(program: Command): void {
  program
    .command('help [command]')
    .description('print the help of a command')
    .helpOption(false)
    .action((name: string | undefined) => {
      const named = program.commands.find(
        (command) => command.name() === name || command.aliases().includes(name ?? ''),
      );
      if (name !== undefined && named === undefined) program.error(`error: unknown command '${name}'`);
      (named ?? program).outputHelp();
    });
}
