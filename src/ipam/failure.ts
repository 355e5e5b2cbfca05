import { CulvertError } from '../errors.ts';

interface Remedy {
  readonly code: string;
  readonly says: string;
}

const LOCKED = {
  code: 'store_locked',
  says: 'it is locked by another process; stop the other daemon or tool that has it open',
};
const READ_ONLY = {
  code: 'store_read_only',
  says: 'it cannot be written; check the mount and the permissions of its folder',
};
const FULL = { code: 'store_full', says: 'its disk or quota is full; make room there' };
const CORRUPT = {
  code: 'store_corrupt',
  says: 'it is damaged or not a lease database; put a sound copy back, or remove every sandbox and move the file away',
};
const UNREACHABLE = {
  code: 'store_unreachable',
  says: 'it cannot be opened; check that its folder exists and may be entered',
};
const FAILED = { code: 'store_failed', says: 'this is a defect in Culvert; report it with the text that follows' };
const IO = { code: 'store_io', says: 'its disk failed to read or write; check the disk and the kernel log' };

/** Primary result codes of sqlite3.h. */
const BY_SQLITE: Readonly<Record<number, Remedy>> = {
  3: READ_ONLY, // SQLITE_PERM
  5: LOCKED, // SQLITE_BUSY
  6: LOCKED, // SQLITE_LOCKED
  8: READ_ONLY, // SQLITE_READONLY
  10: IO, // SQLITE_IOERR
  11: CORRUPT, // SQLITE_CORRUPT
  13: FULL, // SQLITE_FULL
  14: UNREACHABLE, // SQLITE_CANTOPEN
  26: CORRUPT, // SQLITE_NOTADB
};
/** `SQLITE_IOERR | (19 << 8)`: the shared-memory file could not grow. */
const SQLITE_IOERR_SHMSIZE = 4874;

const BY_ERRNO: Readonly<Record<string, Remedy>> = {
  EACCES: READ_ONLY,
  EPERM: READ_ONLY,
  EROFS: READ_ONLY,
  ENOSPC: FULL,
  EDQUOT: FULL,
  EIO: IO,
  ENOENT: UNREACHABLE,
  ENOTDIR: UNREACHABLE,
  ELOOP: UNREACHABLE,
  ENAMETOOLONG: UNREACHABLE,
};

/** What went wrong with the database at `path` during `attempt`, as one of the family; a CulvertError stays as it is. */
export function storeFailure(attempt: string, path: string, cause: unknown): CulvertError {
  if (cause instanceof CulvertError) return cause;
  const { code, says } = remedy(cause);
  const beneath = cause instanceof Error ? cause.message : String(cause);
  return new CulvertError(code, `Cannot ${attempt} in ${path}: ${says} (${beneath})`, { cause });
}

/** The database was read, and what it holds is not what a lease database holds. */
export function storeCorrupt(path: string, found: string): CulvertError {
  return new CulvertError(CORRUPT.code, `Cannot open leases in ${path}: ${CORRUPT.says} (${found})`);
}

function remedy(cause: unknown): Remedy {
  const { errcode, code } = cause as { errcode?: unknown; code?: unknown };
  if (typeof errcode === 'number') {
    if (errcode === SQLITE_IOERR_SHMSIZE) return FULL;
    // The low byte is the primary code, the rest says more about it.
    return BY_SQLITE[errcode & 0xff] ?? FAILED;
  }
  return BY_ERRNO[String(code)] ?? FAILED;
}
