import { randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import type { Clock } from '../clock.ts';
import { CulvertError } from '../errors.ts';
import { storeCorrupt, storeFailure } from './failure.ts';
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from './schema.ts';

/**
 * `full` waits for the disk. `normal` survives the death of the process but may lose the last commits with the power,
 * in order: enough where a new boot undoes the change anyway, too little where a generation is given away.
 */
type Durability = 'full' | 'normal';

type Row = Record<string, SQLOutputValue>;

/**
 * The lease database, held by one thread. What cannot be read or written is an error that names the file
 * (`store_locked`, `store_read_only`, `store_full`, `store_corrupt`, `store_unreachable`, `store_io`), never an empty
 * database.
 */
export class Store implements Disposable {
  readonly path: string;
  readonly clock: Clock;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #synchronous: Durability | undefined;
  /** Of the transaction that is open; undefined where none is. */
  #open: Durability | undefined;
  /** of the file, which must stay where it is */
  readonly #inode: number;
  #failure: CulvertError | undefined;

  constructor(path: string, clock: Clock, database: DatabaseSync) {
    this.path = path;
    this.clock = clock;
    this.#database = database;
    this.#inode = statSync(path).ino;
  }

  /** Why the last write failed; undefined where it did not. */
  get failure(): CulvertError | undefined {
    return this.#failure;
  }

  /**
   * Runs `body` and commits what it wrote, or nothing of it where it throws. Inside another transaction it is a part
   * of that one, undone alone where it throws. `body` must not wait.
   *
   * @throws CulvertError `store_*`; `store_lost` where the file is gone or another is in its place; `store_durability` for
   *   a `full` part of a `normal` transaction
   */
  transaction<T>(durability: Durability, body: () => T): T {
    if (this.#open !== undefined) return this.#part(durability, body);
    try {
      const result = this.#transact(durability, body);
      this.#failure = undefined;
      return result;
    } catch (error) {
      if (error instanceof CulvertError && error.code.startsWith('store_')) this.#failure = error;
      throw error;
    }
  }

  #transact<T>(durability: Durability, body: () => T): T {
    this.#assertThere();
    if (this.#synchronous !== durability) this.#exec(`PRAGMA synchronous = ${durability}`);
    this.#synchronous = durability;
    this.#exec('BEGIN IMMEDIATE');
    this.#open = durability;
    try {
      const result = body();
      this.#assertOpen();
      this.#exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#exec('ROLLBACK');
      throw error;
    } finally {
      this.#open = undefined;
    }
  }

  /**
   * Runs a body that writes with one statement, which is done or not without help: as a part of the transaction that is
   * open, or as one of its own.
   */
  statement<T>(body: () => T): T {
    return this.#open === undefined ? this.transaction('normal', body) : body();
  }

  #part<T>(durability: Durability, body: () => T): T {
    if (durability === 'full' && this.#open === 'normal') {
      const message = `Cannot make a change in ${this.path} durable: it is part of a transaction that is not`;
      throw new CulvertError('store_durability', message);
    }
    this.#assertOpen();
    this.#exec('SAVEPOINT part');
    try {
      const result = body();
      this.#exec('RELEASE part');
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#exec('ROLLBACK TO part; RELEASE part');
      throw error;
    }
  }

  /** The rows of a query, in or outside of a transaction. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#attempt('read leases', () => this.#prepare(sql).all(...values));
  }

  /**
   * Writes inside a transaction and returns how many rows changed.
   *
   * @throws CulvertError `store_*`; `store_no_transaction` outside of one
   */
  run(sql: string, ...values: SQLInputValue[]): number {
    this.#assertOpen();
    return Number(this.#attempt('write leases', () => this.#prepare(sql).run(...values)).changes);
  }

  close(): void {
    this.#attempt('close leases', () => this.#database.close());
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.close();
  }

  /** SQLite would go on writing to a file that nobody finds any more. */
  #assertThere(): void {
    if (statSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode) return;
    const what = 'it was removed, or another was put in its place, while the daemon runs';
    throw new CulvertError('store_lost', `Cannot write leases in ${this.path}: ${what}`);
  }

  /** SQLite itself rolls back on a full disk or a failed write; what follows would then be committed on its own. */
  #assertOpen(): void {
    if (this.#open !== undefined && this.#database.isTransaction) return;
    const message = `Cannot write leases in ${this.path}: no transaction is open, or its failure has ended it`;
    throw new CulvertError('store_no_transaction', message);
  }

  #exec(sql: string): void {
    this.#attempt('write leases', () => this.#database.exec(sql));
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #attempt<T>(attempt: string, body: () => T): T {
    try {
      return body();
    } catch (error) {
      throw storeFailure(attempt, this.path, error);
    }
  }
}

/**
 * Opens the lease database, makes it where there was none, and checks all of it.
 *
 * @param busyTimeout_ms how long to wait for another process that holds the lock
 * @throws CulvertError `store_*`, see Store; `store_version` where another version of Culvert wrote it
 */
export function openStore(file: string, clock: Clock, { busyTimeout_ms = 2000 } = {}): Store {
  const path = resolve(file);
  let database: DatabaseSync | undefined;
  try {
    if (!existsSync(path)) create(path);
    // SQLite would say no more than that it cannot open the file.
    for (const needed of [path, dirname(path)]) accessSync(needed, constants.W_OK);
    // The write-ahead log and the shared memory take their mode from the database.
    if ((statSync(path).mode & 0o777) !== 0o600) chmodSync(path, 0o600);
    const url = pathToFileURL(path);
    // Without this SQLite would make an empty database in place of one that has just vanished.
    url.searchParams.set('mode', 'rw');
    database = new DatabaseSync(url, { timeout: busyTimeout_ms });
    verify(path, database);
    return new Store(path, clock, database);
  } catch (error) {
    if (database?.isOpen) database.close();
    throw storeFailure('open leases', path, error);
  }
}

/**
 * That it is a lease database, and one that this Culvert reads.
 *
 * @throws CulvertError `store_corrupt`, `store_version`
 */
export function assertLeases(path: string, database: DatabaseSync): void {
  if (pragma(database, 'application_id') !== APPLICATION_ID) {
    throw storeCorrupt(path, 'the application id is not Culvert’s');
  }
  const version = pragma(database, 'user_version');
  if (version === SCHEMA_VERSION) return;
  const versions = `its version is ${String(version)} and this Culvert reads ${SCHEMA_VERSION}`;
  const message = `Cannot open leases in ${path}: ${versions}; run the Culvert that wrote it`;
  throw new CulvertError('store_version', message);
}

function pragma(database: DatabaseSync, name: string): SQLOutputValue | undefined {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

function verify(path: string, database: DatabaseSync): void {
  assertLeases(path, database);
  const integrity = pragma(database, 'integrity_check(1)');
  if (integrity !== 'ok') throw storeCorrupt(path, String(integrity));
  // The check above does not follow the references between the tables.
  const dangling = database.prepare('PRAGMA foreign_key_check').get();
  if (dangling !== undefined) throw storeCorrupt(path, `a row of ${String(dangling['table'])} refers to nothing`);
  const journal = pragma(database, 'journal_mode = wal');
  if (journal !== 'wal') throw storeCorrupt(path, `the journal mode is ${String(journal)} and cannot be wal`);
  // A checkpoint waits for the disk twice; pages that change again and again are written once for all.
  database.exec('PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 16777216');
  // SQLite opens a file it may not write, and says so only at the first write.
  database.exec('BEGIN IMMEDIATE; ROLLBACK');
}

/**
 * Makes the database beside its place and links it there when it is whole, so that a crash leaves none or all of it
 * and an empty file at `path` is always damage.
 */
function create(path: string): void {
  if (existsSync(`${path}-wal`)) throw storeCorrupt(path, 'the database is gone and its write-ahead log is there');
  const folder = dirname(path);
  const prefix = `${basename(path)}.new-`;
  const sweep = (): void => {
    for (const name of readdirSync(folder)) if (name.startsWith(prefix)) rmSync(join(folder, name), { force: true });
  };
  sweep();
  const staging = join(folder, `${prefix}${randomBytes(8).toString('hex')}`);
  try {
    closeSync(openSync(staging, 'wx', 0o600));
    const database = new DatabaseSync(staging);
    try {
      database.exec(`PRAGMA synchronous = FULL; BEGIN IMMEDIATE; ${SCHEMA} COMMIT; PRAGMA journal_mode = WAL`);
    } finally {
      database.close();
    }
    linkWhereNone(staging, path);
  } finally {
    sweep();
  }
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function linkWhereNone(staging: string, path: string): void {
  try {
    linkSync(staging, path);
  } catch (error) {
    // Another process was first, and may have swept ours away: its database is the one.
    if (!existsSync(path)) throw error;
  }
}
