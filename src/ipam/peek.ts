import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../clock.ts';
import { storeFailure } from './failure.ts';
import { assertLeases } from './store.ts';

/** ms that another process which holds the lock is waited for */
const BUSY_MS = 2000;

/**
 * How many sandboxes of this boot have leases, be they on their way in or out: the addresses of these are somebody's, and
 * nobody has those of the warm pool or in quarantine. For who has to know before the database is opened to be written;
 * none where there is no database.
 *
 * @throws CulvertError `store_*`
 */
export function countSandboxes(path: string, { bootId }: Pick<Clock, 'bootId'>): number {
  if (!existsSync(path)) return 0;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_MS });
    assertLeases(path, database);
    const owned = `state IN ('creating', 'ready', 'removing') AND sandbox_id IS NOT NULL`;
    const row = database.prepare(`SELECT count(*) AS count FROM lease WHERE ${owned} AND boot_id = ?`).get(bootId);
    return Number(row?.['count']);
  } catch (error) {
    throw storeFailure('read leases', path, error);
  } finally {
    if (database?.isOpen === true) database.close();
  }
}
