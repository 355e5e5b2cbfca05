import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { failureOf, failureText } from './failure.ts';
import { createProgram } from './program.ts';

/** Every command and what is below it, with the words that it is called by. */
function commandsBelow(command: Command, words: readonly string[] = []): [string, Command][] {
  return command.commands.flatMap((child) => {
    const own = [...words, child.name()];
    return [[own.join(' '), child], ...commandsBelow(child, own)] as [string, Command][];
  });
}

const all = commandsBelow(await createProgram(undefined)).filter(([words]) => words !== 'help');

/** What a command prints when it is asked for help. */
function helpOf(command: Command): string {
  let printed = '';
  command.configureOutput({
    writeOut: (text) => {
      printed += text;
    },
  });
  command.outputHelp();
  return printed;
}

async function failureFor(...parameters: string[]): Promise<ReturnType<typeof failureOf>> {
  const program = await createProgram(parameters[0]);
  for (const [, command] of commandsBelow(program)) command.configureOutput({ writeErr: () => undefined });
  program.configureOutput({ writeErr: () => undefined });
  return program.parseAsync(parameters, { from: 'user' }).then(() => undefined, failureOf);
}

/** They ask no daemon. */
const WITHOUT_DAEMON = ['up', 'connect', 'disconnect', 'tunnels'];

describe('every command', () => {
  it('is there', () => {
    const names =
      'up down status create set rm ls inspect exec drain undrain connect disconnect tunnels leases reconcile events bench'.split(
        ' ',
      );
    expect(all.map(([words]) => words)).toEqual(expect.arrayContaining([...names, 'leases explain', 'leases release']));
  });

  it.each(all)('%s carries an example in its help, and takes --json', (words, command) => {
    const help = helpOf(command);
    expect(help).toMatch(new RegExp(`^Examples:\n( {2}.*\n)* {2}culvert ${words}( |$)`, 'm'));
    expect(help).toContain('--json');
    if (!WITHOUT_DAEMON.includes(words)) expect(help).toMatch(/--socket <path> .*\n?.*CULVERT_SOCKET/);
  });

  it.each(all)('%s is loaded by its name alone', async (words) => {
    const [first] = words.split(' ');
    const names = commandsBelow(await createProgram(first)).map(([name]) => name);
    expect(names).toContain(words);
    expect(names.every((name) => name === 'help' || name.startsWith(first ?? ''))).toBe(true);
  });
});

describe('wrong use', () => {
  it.each([
    [],
    ['nonsense'],
    ['ls', 'what'],
    ['ls', '--nonsense'],
    ['ls', '--socket'],
    ['create', 'x'],
    ['create', 'x', '--topology', 'ring'],
    ['create', 'x', 'y', '--topology', 'netns'],
    ['create', 'x', '--topology', 'netns', '--count', '2'],
    ['create', '--topology', 'netns', '--count', '0'],
    ['create', '--topology', 'netns', '--count', '40000'],
    ['create', '--topology', 'netns', '--count', 'two'],
    ['create', '--topology', 'netns', '--count', '-1'],
    ['create', 'x', '--topology', 'netns', '--egress', 'some'],
    ['create', 'x', '--topology', 'netns', '--tx-rate', 'fast'],
    ['create', 'x', '--topology', 'netns', '--tx-burst', '1MB'],
    ['create', 'x', '--topology', 'netns', '--rx-burst', '1Mb', '--rx-rate', '1MB'],
    ['rm'],
    ['rm', 'x', '--all'],
    ['set', 'x'],
    ['set'],
    ['inspect'],
    ['exec', 'x'],
    ['exec', 'x', 'ls', '-l'],
    ['help', 'nonsense'],
    ['create', 'x', '--topology', 'netns', '--deny', 'nowhere'],
    ['set', 'x', '--allow', '10.0.0.1/8'],
    ['leases', 'explain'],
    ['leases', 'release', 'x'],
    ['bench', '--count', '0'],
    ['bench', '--parallel', '33'],
    ['up', '--nonsense'],
  ])('is told on one line, before anything is asked of the daemon: culvert %j %j %j %j %j', async (...parameters) => {
    const given = parameters.filter((word) => word !== undefined);
    const failure = await failureFor(...given);
    expect(failure).toMatchObject({ exitCode: 2, code: 'usage' });
    expect(failure && failureText(failure)).toMatch(/^culvert: Cannot [^\n]+$/);
  });

  it('is told with what to do about it', async () => {
    expect((await failureFor('exec', 'x', 'ls', '-l'))?.message).toMatch(
      /unknown option '-l'; put -- before the command/,
    );
    expect((await failureFor('set', 'x', '--deny', 'here'))?.message).toMatch(/option '--deny <cidr>' argument 'here'/);
    expect((await failureFor('help', 'nope'))?.message).toContain("unknown command 'nope'");
  });
});
