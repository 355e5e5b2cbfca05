import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../errors.ts';
import { folderUnusable } from '../linux/folder.ts';
import { isNamespace } from '../linux/namespace.ts';

/** The file with the leases. */
export function leasesIn(stateDir: string): string {
  return join(stateDir, 'leases.sqlite');
}

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
  const count = readdirSync(pins).filter((name) => isNamespace(join(pins, name))).length;
  if (count === 0) return;
  throw new CulvertError(
    'leases_missing',
    `Cannot start without ${leases}: ${count} namespaces are pinned in ${pins}, and nothing says whose; ` +
      `put it back, or end the sandboxes and unmount the pins (umount -l ${pins}/*)`,
  );
}

/**
 * A lease stands in the database before its namespace is made, and until it is gone. One that is pinned and not leased
 * was leased later than the database knows: with an older copy, addresses and generations would be given away twice.
 *
 * @param unleased names of namespaces that no lease has
 */
export function assertNotOutdated(leases: string, pins: string, unleased: readonly string[]): void {
  const [first] = unleased;
  if (first === undefined) return;
  const known = `${unleased.length} namespaces are pinned in ${pins} that it knows nothing of, such as ${first}`;
  throw new CulvertError(
    'leases_outdated',
    `Cannot start with ${leases}: ${known}; it is an older copy: put the newest back, or end those sandboxes and unmount ` +
      'their pins (umount -l)',
  );
}
