import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { CulvertError } from '../../errors.ts';
import { readSysctl, writeSysctl } from '../../linux/sysctl.ts';

type Content = { readonly bootId: string; readonly values: Record<string, string> };

/**
 * The settings of the root namespace that Culvert has changed, with the values they had before: in a file, so that
 * whoever removes Culvert, in this run or a later one, can put them back. A new boot has settings of its own, so what
 * an earlier one had is not put back.
 */
export class FormerSettings {
  readonly #path: string;
  readonly #bootId: string;

  constructor(path: string, bootId: string) {
    this.#path = path;
    this.#bootId = bootId;
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
      const { bootId, values } = JSON.parse(readFileSync(this.#path, 'utf8')) as Content;
      return bootId === this.#bootId ? values : {};
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
        const content: Content = { bootId: this.#bootId, values };
        writeSync(fd, `${JSON.stringify(content)}\n`);
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
