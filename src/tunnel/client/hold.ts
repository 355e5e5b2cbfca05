import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import { FolderLock } from '../../linux/folder.ts';
import { lockHolder } from '../../linux/lock-holder.ts';
import { type ProcessId, processOf } from '../../linux/process.ts';

/** What a tunnel's folder is held for: by who keeps the tunnel, or by who only takes away what is left of it. */
export type Purpose = 'keeping' | 'cleaning';

/** More than a clean-up takes with the programs that it runs. */
const CLEANING_MS = 15_000;
/**
 * How long one who has just got the lock may take to write into it who it is; and a child that was about to run a program,
 * which has the lock of one that was killed until it does.
 */
const TELLING_MS = 5000;
const LOOK_MS = 5;
const IDLE = new Int32Array(new SharedArrayBuffer(4));

/**
 * Holds a tunnel's folder for this process alone. Who keeps the tunnel has it for long, and another is told so at once;
 * who cleans is waited for.
 *
 * @throws CulvertError `tunnel_in_use`, `folder_unusable`
 */
export function hold(name: string, folder: string, purpose: Purpose): FolderLock {
  for (const beganMs = performance.now(); ; Atomics.wait(IDLE, 0, 0, LOOK_MS)) {
    try {
      return new FolderLock(folder, purpose === 'cleaning' ? purpose : '');
    } catch (error) {
      if (!(error instanceof CulvertError && error.code === 'folder_in_use')) throw error;
      const lock = join(folder, 'lock');
      const text = readFileSync(lock, 'utf8').trim();
      if (performance.now() - beganMs < patience_ms(text)) continue;
      const message = `Cannot work on tunnel ${name}: pid ${lockHolder(lock) ?? text} keeps it; end that (culvert disconnect ${name}), or choose another name`;
      throw new CulvertError('tunnel_in_use', message, { cause: error });
    }
  }
}

/** The process that connects the tunnel of a folder, or keeps it; undefined where none does, or one only cleans. */
export function holderOf(folder: string): ProcessId | undefined {
  const lock = join(folder, 'lock');
  const pid = lockHolder(lock);
  return pid === undefined || isOfCleaner(readFileSync(lock, 'utf8').trim()) ? undefined : processOf(pid);
}

/** Those of all tunnels of a namespace, by name. @param common folder of the namespace */
export function holdersIn(common: string): Map<string, ProcessId> {
  const holders = new Map<string, ProcessId>();
  for (const name of namesIn(common)) {
    const holder = holderOf(join(common, name));
    if (holder !== undefined) holders.set(name, holder);
  }
  return holders;
}

/** The tunnels that have ever been worked on since the boot. */
export function namesIn(common: string): string[] {
  if (!existsSync(common)) return [];
  return readdirSync(common, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}

function patience_ms(text: string): number {
  if (isOfCleaner(text)) return CLEANING_MS;
  return processOf(Number(text)) === undefined ? TELLING_MS : 0;
}

function isOfCleaner(text: string): boolean {
  return text.endsWith(' cleaning');
}
