import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CulvertError } from '../errors.ts';
import { readFileIfThere, writeWholeFile } from '../whole-file.ts';

const schema = z.object({ sinceWallMs: z.number() });

/** In a cluster or not: a host that joins one is as it was. */
function fileIn(stateDir: string): string {
  return join(stateDir, 'draining.json');
}

/**
 * Since when a host takes no new sandboxes, ms since the epoch; undefined where it does.
 *
 * @throws CulvertError `draining_file` where that cannot be told
 */
export function readDraining(stateDir: string): number | undefined {
  const file = fileIn(stateDir);
  try {
    const text = readFileIfThere(file);
    return text === undefined ? undefined : schema.parse(JSON.parse(text)).sinceWallMs;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `Cannot read ${file}, which says that the host takes no new sandboxes: ${why}; remove it where it is to take them`;
    throw new CulvertError('draining_file', message, { cause });
  }
}

/** Whether the host takes new sandboxes, as it stands in its state folder: a daemon that starts goes on with it. */
export class Draining {
  readonly #stateDir: string;
  #sinceWallMs: number | undefined;

  /** @throws CulvertError `draining_file` */
  constructor(stateDir: string) {
    this.#stateDir = stateDir;
    this.#sinceWallMs = readDraining(stateDir);
  }

  /** ms since the epoch; undefined where it takes new sandboxes */
  get sinceWallMs(): number | undefined {
    return this.#sinceWallMs;
  }

  /** @returns whether it did take some before @throws CulvertError `draining_file` */
  begin(): boolean {
    if (this.#sinceWallMs !== undefined) return false;
    const sinceWallMs = Date.now();
    this.#write('write', (file) => writeWholeFile(file, `${JSON.stringify({ sinceWallMs })}\n`));
    this.#sinceWallMs = sinceWallMs;
    return true;
  }

  /** @returns whether it took none before @throws CulvertError `draining_file` */
  end(): boolean {
    if (this.#sinceWallMs === undefined) return false;
    this.#write('remove', (file) => rmSync(file, { force: true }));
    this.#sinceWallMs = undefined;
    return true;
  }

  /** @throws CulvertError `draining` */
  assertTakes(host: string): void {
    if (this.#sinceWallMs === undefined) return;
    const since = new Date(this.#sinceWallMs).toISOString();
    const message = `Cannot create sandboxes on host ${host}: it is draining since ${since}; create them on another host, or have this one take them again with culvert undrain`;
    throw new CulvertError('draining', message);
  }

  #write(what: string, body: (file: string) => void): void {
    const file = fileIn(this.#stateDir);
    try {
      body(file);
    } catch (cause) {
      const why = String((cause as NodeJS.ErrnoException).code ?? cause);
      throw new CulvertError('draining_file', `Cannot ${what} ${file}: ${why}`, { cause });
    }
  }
}
