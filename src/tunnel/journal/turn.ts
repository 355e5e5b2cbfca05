import { join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import { close, lockFile, open, SyscallError } from '../../linux/syscall.ts';
import { makeFolder } from './journal.ts';

/** fcntl.h */
const O_RDWR_CREAT_CLOEXEC = 0o2000102;

/** More than the programs take that are run while one has the turn. */
const LIMIT_MS = 60_000;
const LOOK_MS = 5;

/**
 * Waits for the turn to alter what a folder has the journals of, and has it while `body` runs: one process at a time, and
 * one of its threads. It ends with the process.
 *
 * @throws CulvertError `tunnels_busy`
 */
export function inTurn<T>(folder: string, body: () => T, limit_ms: number = LIMIT_MS): T {
  makeFolder(folder);
  const path = join(folder, 'turn');
  const fd = open(path, O_RDWR_CREAT_CLOEXEC, 0o600);
  try {
    if (!waitForLock(fd, path, limit_ms)) {
      const message = `Cannot alter anything: another client has held ${path} for ${limit_ms} ms`;
      throw new CulvertError('tunnels_busy', message);
    }
    return body();
  } finally {
    close(fd);
  }
}

/** Whether the lock of an open file was got within the limit. */
export function waitForLock(fd: number, path: string, limit_ms: number): boolean {
  const deadline = performance.now() + limit_ms;
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    try {
      lockFile(fd, path);
      return true;
    } catch (error) {
      if (!(error instanceof SyscallError && error.errnoName === 'EAGAIN')) throw error;
    }
    if (performance.now() > deadline) return false;
    Atomics.wait(never, 0, 0, LOOK_MS);
  }
}
