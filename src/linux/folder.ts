import { mkdirSync, readdirSync, readFileSync, statfsSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../errors.ts';
import { close, lockFile, mount, open, SyscallError, umount } from './syscall.ts';

/** linux/magic.h */
const TMPFS_MAGIC = 0x01021994;
const NSFS_MAGIC = 0x6e736673;
/** fcntl.h */
const O_RDWR_CREAT_CLOEXEC = 0o2000102;
/** linux/mount.h */
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
/** linux/fs.h */
const MNT_DETACH = 2;

/**
 * Makes the folder that namespaces are pinned in. On a disk each pin would cost a journal entry, so where the folder is
 * not in memory already, memory is mounted there. Pins in it that pin nothing are taken away. Nobody else may be using it.
 *
 * @param settled the names of pins that are known to be whole, which saves looking
 */
export function preparePins(folder: string, settled: ReadonlySet<string> = new Set()): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (statfsSync(folder).type !== TMPFS_MAGIC)
    mount('culvert', folder, 'tmpfs', MS_NOSUID | MS_NODEV | MS_NOEXEC, 'mode=0755');
  for (const name of readdirSync(folder)) {
    if (settled.has(name)) continue;
    const path = join(folder, name);
    // a file with nothing mounted on it: whoever was making or removing the pin was killed half-way
    if (statfsSync(path).type !== NSFS_MAGIC) unlinkSync(path);
  }
}

/** Takes away what {@link preparePins} mounted; the folder stays. */
export function releasePins(folder: string): void {
  try {
    umount(folder, MNT_DETACH);
  } catch (error) {
    // EINVAL: it was in memory already, and nothing was mounted
    if (!(error instanceof SyscallError && error.errnoName === 'EINVAL')) throw error;
  }
}

/** @param cause an error with the name of an errno */
export function folderUnusable(folder: string, cause: unknown): CulvertError {
  const { errnoName, code } = cause as { errnoName?: string; code?: string };
  const message = `Cannot use ${folder}: it cannot be written (${errnoName ?? code}); check the mount, its space and the permissions`;
  return new CulvertError('folder_unusable', message, { cause });
}

/** Holds a folder for this process alone, until it ends or lets go. */
export class FolderLock implements Disposable {
  readonly #fd: number;

  /**
   * @param purpose stands in the lock after the process's id
   * @throws CulvertError `folder_in_use` that names the holder, `folder_unusable`
   */
  constructor(folder: string, purpose = '') {
    const path = join(folder, 'lock');
    try {
      this.#fd = open(path, O_RDWR_CREAT_CLOEXEC, 0o600);
    } catch (cause) {
      throw folderUnusable(folder, cause);
    }
    try {
      lockFile(this.#fd, path);
    } catch (cause) {
      close(this.#fd);
      const holder = readFileSync(path, 'utf8').trim();
      const message = `Cannot use ${folder}: another daemon does (pid ${holder}); stop it or choose another folder`;
      throw new CulvertError('folder_in_use', message, { cause });
    }
    try {
      writeFileSync(path, `${`${process.pid} ${purpose}`.trim()}\n`);
    } catch (cause) {
      close(this.#fd);
      throw folderUnusable(folder, cause);
    }
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}
