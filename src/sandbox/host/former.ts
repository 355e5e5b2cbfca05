import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { CulvertError } from '../../errors.ts';
import { readSysctl, writeSysctl } from '../../linux/sysctl.ts';

/**
 * The settings of the root namespace that Culvert has changed, with the values they had before: in a file, so that
 * whoever removes Culvert, in this run or a later one, can put them back.
 */
export class FormerSettings {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Writes down, before it is changed, what is to be changed; the first value that was found counts. */
  keep(names: readonly string[]): void {
    const known = this.#read();
    const missing = names.filter((name) => !(name in known));
    if (missing.length === 0) return;
    const found = Object.fromEntries(missing.map((name) => [name, readSysctl(name)]));
    this.#write({ ...known, ...found });
  }

  /** Puts back what was kept, and forgets it. */
  restore(): void {
    for (const [name, value] of Object.entries(this.#read())) if (readSysctl(name) !== value) writeSysctl(name, value);
    rmSync(this.#path, { force: true });
  }

  #read(): Record<string, string> {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8')) as Record<string, string>;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
      const message = `Cannot read ${this.#path}, which says what settings the host had before: ${String(cause)}; mend or remove it`;
      throw new CulvertError('former_settings', message, { cause });
    }
  }

  #write(values: Record<string, string>): void {
    const draft = `${this.#path}.new`;
    try {
      const fd = openSync(draft, 'w', 0o600);
      try {
        writeSync(fd, `${JSON.stringify(values)}\n`);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(draft, this.#path);
    } catch (cause) {
      throw new CulvertError('former_settings', `Cannot write ${this.#path}: ${String(cause)}`, { cause });
    }
  }
}
