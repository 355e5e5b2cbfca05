import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { CulvertError, InputError } from '../../errors.ts';
import { isRunning } from '../../linux/process.ts';
import { addCommand, type Common } from '../command.ts';
import { print, printJson } from '../output.ts';
import { addFolders, type FolderOptions, foldersGiven } from '../tunnel-folders.ts';

/** How long who keeps a tunnel may take to end. */
const END_MS = 10_000;
const LOOK_MS = 10;

export function addDisconnect(program: Command): void {
  const command = addCommand(program, {
    usage: 'disconnect <name>',
    summary: 'End a tunnel, with its kill switch',
    details: 'Ends who keeps it, and takes away what one that was killed has left.',
    examples: [['culvert disconnect wg0', 'all is as it was before']],
  });
  addFolders(command).action(disconnect);
}

async function disconnect(name: string, { json, ...options }: Common & FolderOptions): Promise<void> {
  const { clean, keeperOf, listTunnels } = await import('../../tunnel/client/remains.ts');
  const folders = foldersGiven(options);
  const known = listTunnels(folders).find((one) => one.name === name);
  if (known === undefined) {
    throw new InputError(
      'tunnel_unknown',
      `Cannot disconnect ${name}: there is nothing of it here; see culvert tunnels`,
    );
  }
  const owner = keeperOf(name, folders) ?? known.owner;
  if (owner !== undefined && isRunning(owner)) {
    process.kill(owner.pid, 'SIGTERM');
    for (const deadline = performance.now() + END_MS; isRunning(owner); ) {
      if (performance.now() > deadline) {
        const message = `Cannot disconnect ${name}: pid ${owner.pid}, which keeps it, does not end; kill it, then try again`;
        throw new CulvertError('tunnel_in_use', message);
      }
      // oxlint-disable-next-line no-await-in-loop -- asked again and again
      await pause(LOOK_MS);
    }
  }
  const { done, failed } = clean(name, folders);
  if (failed.length > 0) {
    const why = failed.map(({ message }) => message).join('; ');
    throw new CulvertError('tunnel_left', `Cannot take all of ${name} away: ${why}`);
  }
  if (json) printJson({ disconnected: name, done });
  else print([...done, `${name} is disconnected`].join('\n'));
}
