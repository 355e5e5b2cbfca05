import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { CulvertError } from '../errors.ts';
import { folderUnusable } from '../linux/folder.ts';

/** Makes a folder for the daemon alone. @throws CulvertError `folder_unusable` */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw folderUnusable(path, cause);
  }
}

/**
 * Without leases every namespace would belong to nobody, and be swept: a folder that was moved or mistaken must not cost
 * the sandboxes that run.
 */
export function assertNotLost(leases: string, pins: string): void {
  if (existsSync(leases) || !existsSync(pins)) return;
  const count = readdirSync(pins).length;
  if (count === 0) return;
  throw new CulvertError(
    'leases_missing',
    `Cannot start without ${leases}: ${count} namespaces are pinned in ${pins}, and nothing says whose; ` +
      'put it back, or end the sandboxes and unmount the pins',
  );
}
