import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { CulvertError } from '../errors.ts';

/**
 * Writes this process's id, whole or not at all. What stands there is not looked at: it may be of a daemon that was
 * killed, and the socket tells whether one lives.
 *
 * @throws CulvertError `pid_file`
 */
export function writePidFile(path: string): void {
  const staging = `${path}.new`;
  try {
    writeFileSync(staging, `${process.pid}\n`, { mode: 0o644 });
    renameSync(staging, path);
  } catch (cause) {
    const why = String((cause as NodeJS.ErrnoException).code);
    throw new CulvertError('pid_file', `Cannot write the process id to ${path}: ${why}`, { cause });
  }
}

/** Removes the file if it is still this process's. */
export function removePidFile(path: string): void {
  try {
    if (readFileSync(path, 'utf8').trim() === String(process.pid)) rmSync(path, { force: true });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new CulvertError('pid_file', `Cannot remove ${path}`, { cause });
    }
  }
}
