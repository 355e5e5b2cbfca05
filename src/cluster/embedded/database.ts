import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { CulvertError } from '../../errors.ts';
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from './schema.ts';

export type Row = Record<string, SQLOutputValue>;

/** How long one call waits for another process that writes; a write takes a millisecond. */
const BUSY_MS = 200;

/** Primary result codes of sqlite3.h. */
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** A database that several processes write in turn. Every failure names the file. */
export class Database {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(path: string, database: DatabaseSync) {
    this.#path = path;
    this.#database = database;
  }

  /**
   * Runs `body`, which must not wait, with nobody writing beside it, and commits what it wrote or nothing where it throws.
   *
   * @throws CulvertError `registry_unavailable`, `registry_corrupt`
   */
  transaction<T>(body: () => T): T {
    return attempt(this.#path, () => {
      this.#database.exec('BEGIN IMMEDIATE');
      try {
        const result = body();
        this.#database.exec('COMMIT');
        return result;
      } finally {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      }
    });
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return attempt(this.#path, () => this.#prepare(sql).all(...values));
  }

  one(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return attempt(this.#path, () => this.#prepare(sql).get(...values));
  }

  /** Returns how many rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return attempt(this.#path, () => Number(this.#prepare(sql).run(...values).changes));
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/**
 * Opens a registry's database, or makes it where there is none.
 *
 * @throws CulvertError `registry_unavailable`, `registry_corrupt`, `registry_version`
 */
export function openDatabase(path: string): Database {
  return attempt(path, () => {
    closeSync(openSync(path, 'a', 0o600));
    chmodSync(path, 0o600);
    const database = new DatabaseSync(path, { timeout: BUSY_MS, enableForeignKeyConstraints: true });
    try {
      // before the tables, so that nobody reads half of them
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
      make(database);
      verify(path, database);
      return new Database(path, database);
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/** In one transaction: who opens it finds no tables or all, however the one that makes them ends. */
function make(database: DatabaseSync): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    const tables = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.['count'];
    if (tables === 0 && pragma(database, 'application_id') === 0) database.exec(SCHEMA);
    database.exec('COMMIT');
  } finally {
    if (database.isTransaction) database.exec('ROLLBACK');
  }
}

function verify(path: string, database: DatabaseSync): void {
  if (pragma(database, 'application_id') !== APPLICATION_ID) {
    throw new CulvertError('registry_corrupt', `Cannot use the registry ${path}: it is another program’s database`);
  }
  const version = pragma(database, 'user_version');
  if (version !== SCHEMA_VERSION) {
    const versions = `its version is ${String(version)} and this Culvert reads ${SCHEMA_VERSION}`;
    throw new CulvertError('registry_version', `Cannot use the registry ${path}: ${versions}`);
  }
  const integrity = pragma(database, 'quick_check(1)');
  if (integrity !== 'ok')
    throw new CulvertError('registry_corrupt', `Cannot use the registry ${path}: ${String(integrity)}`);
}

function pragma(database: DatabaseSync, name: string): SQLOutputValue | undefined {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

function attempt<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof CulvertError) throw error;
    const { errcode = 0, message } = error as Error & { errcode?: number };
    const isCorrupt = [SQLITE_CORRUPT, SQLITE_NOTADB].includes(errcode & 0xff);
    const code = isCorrupt ? 'registry_corrupt' : 'registry_unavailable';
    throw new CulvertError(code, `Cannot use the registry ${path}: ${message}`, { cause: error });
  }
}
