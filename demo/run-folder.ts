import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../src/errors.ts';
import { FolderLock } from '../src/linux/folder.ts';

const HOME = new URL('../.cache/demo', import.meta.url).pathname;
const PREFIX = 'run-';

/**
 * A folder on the checkout's disk, where a commit costs what it costs. It goes when it is disposed of; what a run that
 * was killed has left goes when the next begins.
 */
export class RunFolder implements Disposable {
  readonly path: string;
  readonly #lock: FolderLock;

  constructor() {
    mkdirSync(HOME, { recursive: true });
    sweep();
    const fresh = mkdtempSync(join(HOME, 'new-'));
    this.#lock = new FolderLock(fresh);
    // Only now may another sweep: what it finds by this name is locked as long as it is in use.
    this.path = join(HOME, `${PREFIX}${fresh.slice(-6)}`);
    renameSync(fresh, this.path);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
    this.#lock[Symbol.dispose]();
  }
}

function sweep(): void {
  for (const name of readdirSync(HOME)) {
    const path = join(HOME, name);
    if (name.startsWith(PREFIX) && !isInUse(path)) rmSync(path, { recursive: true, force: true });
  }
}

function isInUse(path: string): boolean {
  try {
    new FolderLock(path)[Symbol.dispose]();
    return false;
  } catch (error) {
    if (error instanceof CulvertError && error.code === 'folder_in_use') return true;
    throw error;
  }
}
