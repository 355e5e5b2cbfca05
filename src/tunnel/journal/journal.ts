import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { z } from 'zod';
import { CulvertError } from '../../errors.ts';
import { readFileIfThere, writeWholeFile } from '../../whole-file.ts';

/**
 * What somebody who comes after needs to undo an alteration of the machine: a file that is written, and is on the disk,
 * before anything is altered, and ends when nothing is left to undo. Whoever reads or writes it holds the
 * turn of its folder (`inTurn`).
 */
export class Journal<Content> {
  readonly path: string;
  readonly #schema: z.ZodType<Content>;

  constructor(path: string, schema: z.ZodType<Content>) {
    this.path = path;
    this.#schema = schema;
  }

  /** @throws CulvertError `journal_unreadable` */
  read(): Content | undefined {
    try {
      const text = readFileIfThere(this.path);
      return text === undefined ? undefined : this.#schema.parse(JSON.parse(text));
    } catch (cause) {
      const message = `Cannot read ${this.path}, which says what was there before a tunnel: ${String(cause)}; mend or remove it`;
      throw new CulvertError('journal_unreadable', message, { cause });
    }
  }

  /** @throws CulvertError `journal_unwritable`: nothing may be altered then */
  write(content: Content): void {
    this.#change(() => writeWholeFile(this.path, `${JSON.stringify(content)}\n`));
  }

  /** Forgets it, and what a process that was killed while writing it has left. */
  end(): void {
    const draft = `${this.path}.new`;
    if (!existsSync(this.path) && !existsSync(draft)) return;
    this.#change(() => {
      rmSync(this.path, { force: true });
      rmSync(draft, { force: true });
      syncFolder(dirname(this.path));
    });
  }

  #change(body: () => void): void {
    try {
      body();
    } catch (cause) {
      const message = `Cannot write ${this.path}, so nothing can be altered: ${String(cause)}`;
      throw new CulvertError('journal_unwritable', message, { cause });
    }
  }
}

/** Makes a loss of power keep what was renamed or removed in a folder. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** @throws CulvertError `journal_unwritable` */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new CulvertError('journal_unwritable', `Cannot make ${folder}: ${String(cause)}`, { cause });
  }
}
