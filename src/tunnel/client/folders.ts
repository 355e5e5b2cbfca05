import { readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { NamespaceName } from '../../plan/state.ts';

/** Where clients, and a daemon that clears up after them, look unless they are told otherwise. */
export const RUN_FOLDER = '/run/culvert/tunnels';
export const STATE_FOLDER = '/var/lib/culvert/tunnels';

export type Folders = {
  readonly runFolder?: string;
  readonly stateFolder?: string;
};

/** Where what is of this boot is, all of the calling thread's network namespace, and what outlives a boot. */
export function foldersOf({ runFolder = RUN_FOLDER, stateFolder = STATE_FOLDER }: Folders): {
  readonly common: string;
  readonly state: string;
  /** of the namespace */
  readonly inode: number;
} {
  // a name is one of a network namespace
  const { ino: inode } = statSync('/proc/thread-self/ns/net');
  return { common: join(runFolder, `net-${inode}`), state: stateFolder, inode };
}

/** Of the namespace that a tunnel's link is in, where that is not the root: a link to its path, in the tunnel's folder. */
export const INSIDE: NamespaceName = 'inside';

/** Path of the namespace that a tunnel's link was put into last; undefined for the root. */
export function namespaceOf(name: string, folders: Folders = {}): string | undefined {
  try {
    return readlinkSync(join(foldersOf(folders).common, name, INSIDE));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
