import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Folders } from '../tunnel/client/folders.ts';

export type FolderOptions = { readonly runDir?: string; readonly stateDir?: string };

/** For commands of tunnels. */
export function addFolders(command: Command): Command {
  return command
    .option('--run-dir <dir>', 'holds what is of this boot (default: /run/culvert/tunnels)')
    .option('--state-dir <dir>', 'holds the journals of what is altered (default: /var/lib/culvert/tunnels)');
}

export function foldersGiven({ runDir, stateDir }: FolderOptions): Folders {
  return {
    ...(runDir === undefined ? {} : { runFolder: resolve(runDir) }),
    ...(stateDir === undefined ? {} : { stateFolder: resolve(stateDir) }),
  };
}
