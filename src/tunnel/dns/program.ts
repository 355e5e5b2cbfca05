import { spawnSync } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readSync, rmSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import { lockFile } from '../../linux/syscall.ts';
import { waitForLock } from '../journal/turn.ts';

const LIMIT_MS = 10_000;
const SAID_BYTES = 4_096;
/** A root that logged in without them has its programs there all the same. */
const SYSTEM_FOLDERS = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin';

/**
 * Programs of the machine that set its name servers, run without a shell and not for longer than a limit. What they
 * print goes to a file, which they hold locked while they run: one whose client was killed goes on, and whoever comes
 * after can wait for it.
 */
export class Programs {
  readonly #said: string;
  readonly #limit_ms: number;
  readonly #path: string;

  /** @param folder for what they print */
  constructor(
    folder: string,
    options: { readonly path?: string | undefined; readonly limit_ms?: number | undefined } = {},
  ) {
    this.#said = join(folder, 'program.log');
    this.#limit_ms = options.limit_ms ?? LIMIT_MS;
    this.#path = options.path ?? [process.env['PATH'], SYSTEM_FOLDERS].filter(Boolean).join(':');
  }

  find(name: string): string | undefined {
    return this.#path
      .split(':')
      .filter((folder) => isAbsolute(folder))
      .map((folder) => join(folder, name))
      .find(isProgram);
  }

  /** @throws CulvertError `program_failed`, with what was run, how it ended and what it printed */
  run(name: string, parameters: readonly string[], input = ''): void {
    const command = [name, ...parameters].join(' ');
    const program = this.find(name);
    if (program === undefined)
      throw new CulvertError('program_failed', `Cannot run ${command}: there is no ${name} in ${this.#path}`);
    // a new file: the lock of the last may be held by a service that was started with what its program had open
    rmSync(this.#said, { force: true });
    const fd = openSync(this.#said, 'wx+', 0o600);
    try {
      lockFile(fd, this.#said);
      const { status, signal, error } = spawnSync(program, parameters, {
        input,
        stdio: ['pipe', fd, fd],
        timeout: this.#limit_ms,
        killSignal: 'SIGKILL',
        env: { PATH: this.#path, LC_ALL: 'C' },
      });
      if (status === 0) return;
      const isLate = error !== undefined && 'code' in error && error.code === 'ETIMEDOUT';
      const how = isLate ? `not done in ${this.#limit_ms} ms` : `it ended with ${signal ?? status ?? error?.message}`;
      const said = readStart(fd);
      const message = `Cannot run ${command}: ${how}${said === '' ? '' : `: ${said}`}`;
      throw new CulvertError('program_failed', message, { cause: error });
    } finally {
      closeSync(fd);
      rmSync(this.#said, { force: true });
    }
  }

  /** Waits until a program that outlived its client has ended, but not longer than it may take. */
  waitForOrphan(): void {
    let fd: number;
    try {
      fd = openSync(this.#said, 'r+');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    try {
      waitForLock(fd, this.#said, this.#limit_ms);
    } finally {
      closeSync(fd);
      rmSync(this.#said, { force: true });
    }
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    // the next folder may have one
    return false;
  }
}

function readStart(fd: number): string {
  const buffer = Buffer.alloc(SAID_BYTES);
  return buffer.toString('utf8', 0, readSync(fd, buffer, 0, SAID_BYTES, 0)).trim();
}
