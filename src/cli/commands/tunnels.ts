import type { Command } from 'commander';
import { CulvertError } from '../../errors.ts';
import { addCommand, type Common } from '../command.ts';
import { print, printJson, printTable } from '../output.ts';
import { addFolders, type FolderOptions, foldersGiven } from '../tunnel-folders.ts';

type Options = Common & FolderOptions & { readonly clean?: true };

export function addTunnels(program: Command): void {
  const command = addCommand(program, {
    usage: 'tunnels',
    summary: 'List the tunnels of this machine, and what is left of some',
    details: 'It asks the kernel: what a client that was killed has left is listed too, and --clean takes it away.',
    examples: [
      ['culvert tunnels', 'who keeps which'],
      ['culvert tunnels --clean', 'take away what nobody keeps, kill switches too'],
    ],
  }).option('--clean', 'take away what is left of those that nobody keeps');
  addFolders(command).action(tunnels);
}

async function tunnels({ json, clean: cleans, ...options }: Options): Promise<void> {
  const { clean, cleanRules, countOrphanedRules, listTunnels } = await import('../../tunnel/client/remains.ts');
  const folders = foldersGiven(options);
  const found = listTunnels(folders);
  if (!cleans) {
    // most machines have none of those
    const hasNamespaces = found.some(({ namespace }) => namespace !== undefined);
    const rows = found.map(({ name, owner, hasLink, hasKillSwitch, namespace }) => {
      const state = owner === undefined ? 'left' : 'kept';
      const row = [name, state, String(owner?.pid ?? '-'), hasLink ? 'yes' : 'no', hasKillSwitch ? 'yes' : 'no'];
      return hasNamespaces ? [...row, namespace ?? '-'] : row;
    });
    if (json) printJson(found);
    else printTable(['TUNNEL', 'STATE', 'PID', 'LINK', 'KILL SWITCH', ...(hasNamespaces ? ['NAMESPACE'] : [])], rows);
    const rules = countOrphanedRules();
    if (rules > 0 && !json) print(`rules of tunnels that are gone: ${rules}`);
    return;
  }
  const left = found.filter(({ owner }) => owner === undefined);
  const swept = left.map(({ name }) => ({ name, ...clean(name, folders) }));
  const rules = cleanRules();
  const failed = swept.flatMap((one) => one.failed);
  if (json) printJson({ cleaned: swept.map(({ name, done }) => ({ name, done })), rules });
  else for (const { name, done } of swept) print([`${name}:`, ...done.map((line) => `  ${line}`)].join('\n'));
  if (!json && rules.length > 0) print(rules.join('\n'));
  if (failed.length > 0) {
    const why = failed.map(({ message }) => message).join('; ');
    throw new CulvertError('tunnel_left', `Cannot take everything away: ${why}`);
  }
}
