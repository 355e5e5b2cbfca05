import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../../clock.ts';
import { CulvertError } from '../../errors.ts';
import { assertWithinLimits } from '../limits.ts';
import type { Change, Condition, Entry, Lease, News, Registry, Revision, Write } from '../registry.ts';
import { type Database, openDatabase, type Row } from './database.ts';
import { CHANGES_KEPT } from './schema.ts';

/** How often a follower looks for what was written; to look costs microseconds. */
const POLL_MS = 25;
/** How long a follower waits before it looks again where another process has held the file for too long. */
const RETRY_MS = 1000;

type Looked = { readonly news: News | undefined; readonly revision: Revision };

/** Of a machine with one daemon or several: a file that all of them open. */
export class EmbeddedRegistry implements Registry {
  readonly name: string;
  #opened: Database | undefined;
  readonly #clock: Clock;
  readonly #closed = new AbortController();

  /**
   * One that cannot be opened now, as where another process holds it, is away as an etcd may be.
   *
   * @throws CulvertError `registry_corrupt`, `registry_version`
   */
  constructor(path: string, clock: Clock) {
    this.name = path;
    this.#clock = clock;
    try {
      this.#opened = openDatabase(path);
    } catch (error) {
      if (!isAway(error)) throw error;
    }
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#transaction(() => {
      const [row] = this.#database.all('SELECT key, value, revision FROM entry WHERE key = ?', key);
      return row === undefined ? undefined : entryOf(row);
    });
  }

  async list(prefix: string): ReturnType<Registry['list']> {
    return this.#transaction(() => this.#read(prefix));
  }

  async commit(conditions: readonly Condition[], writes: readonly Write[]): Promise<Revision | undefined> {
    assertWithinLimits(conditions, writes);
    return this.#transaction(() => {
      const holds = conditions.every(({ key, revision }) => this.#revisionOf(key) === revision);
      return holds ? this.#write(writes) : undefined;
    });
  }

  async grant(ttl_ms: number): Promise<Lease> {
    const id = this.#transaction(() => {
      const sql = 'INSERT INTO granted (ttl_ms, boot_id, due_mono_ms) VALUES (?, ?, ?) RETURNING id';
      return Number(this.#database.one(sql, ttl_ms, this.#clock.bootId, this.#due(ttl_ms))?.['id']);
    });
    return {
      id: String(id),
      ttl_ms,
      keepAlive: async () => this.#transaction(() => this.#keepAlive(id, ttl_ms)),
      revoke: async () => this.#transaction(() => this.#end([id])),
    };
  }

  async *follow(prefix: string, signal: AbortSignal): AsyncIterable<News> {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    let after: Revision | undefined;
    while (!ended.aborted) {
      const looked = this.#look(after, prefix);
      after = looked?.revision ?? after;
      if (looked?.news !== undefined) yield looked.news;
      else {
        const rest = looked === undefined ? RETRY_MS : POLL_MS;
        // oxlint-disable-next-line no-await-in-loop -- one look after the other
        await pause(rest, undefined, { signal: ended }).catch(() => undefined);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    this.#opened?.close();
  }

  get #database(): Database {
    if (this.#opened === undefined && this.#closed.signal.aborted) {
      throw new CulvertError('registry_unavailable', `Cannot use the registry ${this.name}: it was closed`);
    }
    this.#opened ??= openDatabase(this.name);
    return this.#opened;
  }

  /** With what has ended gone. */
  #transaction<T>(body: () => T): T {
    return this.#database.transaction(() => {
      this.#endDue();
      return body();
    });
  }

  #read(prefix: string): { entries: Entry[]; revision: Revision } {
    const rows = this.#database.all(`SELECT key, value, revision FROM entry WHERE ${BELOW} ORDER BY key`, prefix);
    return { entries: rows.map(entryOf), revision: this.#revision() };
  }

  /** undefined where it is away */
  #look(after: Revision | undefined, prefix: string): Looked | undefined {
    try {
      return this.#newsAfter(after, prefix);
    } catch (error) {
      if (!isAway(error)) throw error;
      return undefined;
    }
  }

  #newsAfter(after: Revision | undefined, prefix: string): Looked {
    if (after !== undefined && !this.#isDue() && this.#revision() === after)
      return { news: undefined, revision: after };
    return this.#transaction(() => {
      const revision = this.#revision();
      const oldest = this.#database.one('SELECT number, revision FROM change ORDER BY number LIMIT 1');
      // of the oldest commit that is kept a part may be missing
      const isKept = after !== undefined && (oldest?.['number'] === 1 || Number(oldest?.['revision']) <= after);
      if (!isKept) return { news: { kind: 'all', ...this.#read(prefix) }, revision };
      const sql = `SELECT key, value, revision FROM change WHERE revision > ? AND ${BELOW_SECOND} ORDER BY number`;
      const changes: Change[] = this.#database.all(sql, after, prefix).map((row) => ({
        key: String(row['key']),
        value: row['value'] === null ? undefined : String(row['value']),
        revision: Number(row['revision']),
      }));
      return { news: changes.length === 0 ? undefined : { kind: 'changes', changes }, revision };
    });
  }

  #revision(): Revision {
    return Number(this.#database.one('SELECT current FROM revision')?.['current']);
  }

  #revisionOf(key: string): Revision {
    return Number(this.#database.one('SELECT revision FROM entry WHERE key = ?', key)?.['revision'] ?? 0);
  }

  #write(writes: readonly Write[]): Revision {
    const [row] = this.#database.all('UPDATE revision SET current = current + 1 RETURNING current');
    const revision = Number(row?.['current']);
    for (const write of writes) {
      if (write.value === undefined) this.#delete(write.key, revision);
      else this.#put(write.key, write.value, revision, write.lease);
    }
    this.#database.run('DELETE FROM change WHERE number <= (SELECT max(number) FROM change) - ?', CHANGES_KEPT);
    return revision;
  }

  #put(key: string, value: string, revision: Revision, lease: Lease | undefined): void {
    const granted = lease === undefined ? null : Number(lease.id);
    if (granted !== null && this.#database.one('SELECT 1 FROM granted WHERE id = ?', granted) === undefined) {
      throw this.#leaseLost(`write ${key}`);
    }
    this.#database.run(
      'INSERT OR REPLACE INTO entry (key, value, revision, granted) VALUES (?, ?, ?, ?)',
      key,
      value,
      revision,
      granted,
    );
    this.#database.run('INSERT INTO change (revision, key, value) VALUES (?, ?, ?)', revision, key, value);
  }

  #delete(key: string, revision: Revision): void {
    if (this.#database.run('DELETE FROM entry WHERE key = ?', key) === 0) return;
    this.#database.run('INSERT INTO change (revision, key, value) VALUES (?, ?, NULL)', revision, key);
  }

  #keepAlive(id: number, ttl_ms: number): void {
    const sql = 'UPDATE granted SET due_mono_ms = ? WHERE id = ?';
    if (this.#database.run(sql, this.#due(ttl_ms), id) === 0) throw this.#leaseLost('keep a lease alive');
  }

  #isDue(): boolean {
    const sql = 'SELECT 1 FROM granted WHERE boot_id <> ? OR due_mono_ms <= ?';
    return this.#database.one(sql, this.#clock.bootId, this.#clock.monotonicMs()) !== undefined;
  }

  #endDue(): void {
    const { bootId } = this.#clock;
    // nobody could keep them alive while the machine was down
    const again = 'UPDATE granted SET boot_id = ?1, due_mono_ms = ?2 + ttl_ms WHERE boot_id <> ?1';
    this.#database.run(again, bootId, Math.ceil(this.#clock.monotonicMs()));
    const due = this.#database.all('SELECT id FROM granted WHERE due_mono_ms <= ?', this.#clock.monotonicMs());
    this.#end(due.map(({ id }) => Number(id)));
  }

  #end(leases: readonly number[]): void {
    for (const id of leases) {
      const keys = this.#database.all('SELECT key FROM entry WHERE granted = ?', id).map(({ key }) => String(key));
      if (keys.length > 0) this.#write(keys.map((key) => ({ key, value: undefined })));
      this.#database.run('DELETE FROM granted WHERE id = ?', id);
    }
  }

  #due(ttl_ms: number): number {
    return Math.ceil(this.#clock.monotonicMs() + ttl_ms);
  }

  #leaseLost(what: string): CulvertError {
    return new CulvertError('registry_lease_lost', `Cannot ${what} in the registry ${this.name}: its lease has ended`);
  }
}

/** The prefix as it is: LIKE would take some of its characters for others, and case for none. */
const BELOW = 'substr(key, 1, length(?1)) = ?1';
const BELOW_SECOND = 'substr(key, 1, length(?2)) = ?2';

function isAway(error: unknown): boolean {
  return error instanceof CulvertError && error.code === 'registry_unavailable';
}

function entryOf({ key, value, revision }: Row): Entry {
  return { key: String(key), value: String(value), revision: Number(revision) };
}
