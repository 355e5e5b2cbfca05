import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../clock.ts';
import { CulvertError } from '../errors.ts';
import { claim } from './allocator.ts';
import { parseSlot } from './lease.ts';
import { openStore, type Store } from './store.ts';
import { advance, listLeases } from './transition.ts';

const POOL = { topology: 'netns' } as const;
const range = { first: parseSlot(1), last: parseSlot(32767) };
// Each claim waits for the disk, which others may keep busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-store-'));
  path = join(folder, 'leases.db');
});
afterEach(() => rmSync(folder, { recursive: true }));

function open(): Store {
  return openStore(path, systemClock(), { busyTimeout_ms: 20 });
}

/** The code of the CulvertError that `body` throws, whose message must name the file. */
function failure(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (!(error instanceof CulvertError)) throw error;
    expect(error.message).toContain(path);
    return error.code;
  }
  return 'none';
}

describe('a new store', () => {
  it('is private, whole and in WAL mode, with nothing beside it', () => {
    const before = process.umask(0);
    try {
      using store = open();
      claim(store, [POOL], range);
      expect(readdirSync(folder).toSorted()).toEqual(['leases.db', 'leases.db-shm', 'leases.db-wal']);
      for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
      expect(store.all('PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
    } finally {
      process.umask(before);
    }
    expect(readdirSync(folder)).toEqual(['leases.db']);
  });

  it('sweeps what a crash in the making left, and takes no half of it', () => {
    writeFileSync(`${path}.new-0123`, 'half');
    open().close();
    expect(readdirSync(folder)).toEqual(['leases.db']);
  });

  it('gets its mode back', () => {
    open().close();
    chmodSync(path, 0o644);
    open().close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('is not made where its log tells of a lost one', () => {
    writeFileSync(`${path}-wal`, '');
    expect(failure(open)).toBe('store_corrupt');
    expect(readdirSync(folder)).toEqual(['leases.db-wal']);
  });

  it('is not made in a folder that is not there', () => {
    path = join(folder, 'none', 'leases.db');
    expect(failure(open)).toBe('store_unreachable');
  });
});

describe('a transaction', () => {
  it('leaves nothing of what threw', () => {
    using store = open();
    const fail = (): void => {
      claim(store, [POOL, POOL], range);
      throw new Error('on purpose');
    };
    expect(() => store.transaction('full', fail)).toThrow('on purpose');
    expect(listLeases(store)).toEqual([]);
  });

  it('undoes a part alone where the part throws', () => {
    using store = open();
    store.transaction('full', () => {
      const [kept] = claim(store, [POOL], range);
      if (kept === undefined) throw new Error('no lease');
      const part = (): void =>
        store.transaction('normal', () => {
          advance(store, kept, 'warm');
          throw new Error('on purpose');
        });
      expect(part).toThrow('on purpose');
    });
    expect(listLeases(store).map(({ slot, state }) => [slot, state])).toEqual([[1, 'creating']]);
  });

  it('syncs claims to the disk and refuses to claim where it would not', () => {
    using store = open();
    store.transaction('full', () => expect(store.all('PRAGMA synchronous')).toEqual([{ synchronous: 2 }]));
    store.transaction('normal', () => expect(store.all('PRAGMA synchronous')).toEqual([{ synchronous: 1 }]));
    const claimed = (): unknown => store.transaction('normal', () => claim(store, [POOL], range));
    expect(failure(claimed)).toBe('store_durability');
  });

  it('is needed to write', () => {
    using store = open();
    expect(failure(() => store.run('UPDATE lease SET generation = 7'))).toBe('store_no_transaction');
    expect(store.all('SELECT max(generation) AS generation FROM lease')).toEqual([{ generation: 0 }]);
  });
});

describe('the table', () => {
  it('refuses two live leases of one owner, whoever writes them', () => {
    using store = open();
    const sql = `UPDATE lease SET state = 'ready', generation = 1, boot_id = 'x', free_order = NULL, topology = 'netns', sandbox_id = 'a',
      specification = '{}'
      WHERE slot <= ?`;
    expect(store.transaction('full', () => store.run(sql, 1))).toBe(1);
    expect(failure(() => store.transaction('full', () => store.run(sql, 2)))).toBe('store_failed');
    expect(() => store.transaction('full', () => store.run(`INSERT INTO lease SELECT * FROM lease`))).toThrow(/UNIQUE/);
  });
});

describe('a damaged store is refused and left as it is', () => {
  it.each<[string, string, () => void]>([
    ['an empty file', 'store_corrupt', () => truncateSync(path)],
    ['a file cut short', 'store_corrupt', () => truncateSync(path, 40_960)],
    ['no database', 'store_corrupt', () => writeFileSync(path, 'x'.repeat(8192))],
    ['pages overwritten', 'store_corrupt', () => overwrite(8192, 65_536)],
    ['another application', 'store_corrupt', () => execute('PRAGMA application_id = 1')],
    ['an index that disagrees', 'store_corrupt', corruptIndex],
    [
      'a row out of bounds',
      'store_corrupt',
      () => execute('PRAGMA ignore_check_constraints = 1; UPDATE lease SET generation = -1 WHERE slot = 9'),
    ],
    [
      'a lease whose address is not held',
      'store_corrupt',
      () =>
        execute(`PRAGMA foreign_keys = OFF; UPDATE lease SET state = 'warm', topology = 'bridge', generation = 1,
          bridge_address = 7, boot_id = 'x', free_order = NULL, warm_order = 1 WHERE slot = 9`),
    ],
    ['a later version', 'store_version', () => execute('PRAGMA user_version = 3')],
  ])('%s', (_name, code, damage) => {
    open().close();
    damage();
    const before = readFileSync(path);
    expect(failure(open)).toBe(code);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it('while it is open, too', () => {
    using store = open();
    // A change by another makes the store read its pages again.
    execute('UPDATE lease SET since_wall_ms = 1 WHERE slot = 32767; PRAGMA wal_checkpoint(TRUNCATE)');
    overwrite(4096, statSync(path).size - 4096);
    expect(failure(() => claim(store, [POOL], range))).toBe('store_corrupt');
  });
});

function overwrite(start: number, length: number): void {
  const bytes = readFileSync(path);
  bytes.fill(0xa5, start, start + length);
  writeFileSync(path, bytes);
}

function execute(text: string): void {
  const database = new DatabaseSync(path);
  database.exec(text);
  database.close();
}

/** Lets SQLite itself drop an index entry, by hiding the index from one UPDATE. */
function corruptIndex(): void {
  const database = new DatabaseSync(path, { defensive: false });
  database.exec('PRAGMA writable_schema = 1');
  database.exec(
    `UPDATE sqlite_schema SET sql = replace(sql, 'free_order, slot', 'slot, free_order') WHERE name = 'lease_free'`,
  );
  database.close();
}

describe('a locked store', () => {
  it('is neither opened nor written, and works again when the lock is gone', () => {
    using store = open();
    const other = new DatabaseSync(path);
    try {
      other.exec('BEGIN IMMEDIATE');
      expect(failure(open)).toBe('store_locked');
      expect(failure(() => claim(store, [POOL], range))).toBe('store_locked');
      expect(listLeases(store)).toEqual([]);
    } finally {
      other.close();
    }
    expect(claim(store, [POOL], range)).toHaveLength(1);
  });
});

/**
 * Root may write where no mode bit allows it, so read-only and full are those of a mount of our own, in a mount
 * namespace that dies with the process:
 *
 *     unshare ─ sh: mount tmpfs, prepare it ─ node: try, print what came of it
 */
function onMount(size: string, prepare: string, attempt: string): unknown {
  const mount = join(folder, 'mount');
  mkdirSync(mount);
  open().close();
  const program = `
    import { openStore } from '${import.meta.dirname}/store.ts';
    import { claim } from '${import.meta.dirname}/allocator.ts';
    import { listLeases } from '${import.meta.dirname}/transition.ts';
    import { systemClock } from '${import.meta.dirname}/../clock.ts';
    import { execFileSync } from 'node:child_process';
    import { statfsSync, writeFileSync } from 'node:fs';
    const path = '${mount}/leases.db';
    const range = { first: 1, last: 32767 };
    const POOL = { topology: 'netns' };
    const open = () => openStore(path, systemClock());
    const attempt = (body) => {
      try { return body(); } catch (error) { return { code: error.code, named: error.message.includes(path) }; }
    };
    ${attempt}`;
  const script = `mount -t tmpfs -o size=${size} none "$1" && ${prepare} && exec "$3" --input-type=module -e "$4"`;
  const unshare = process.getuid?.() === 0 ? ['-m'] : ['-Urm'];
  const args = [...unshare, 'sh', '-c', script, 'sh', mount, path, process.execPath, program];
  return JSON.parse(execFileSync('/usr/bin/unshare', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }));
}

describe('a folder that cannot be written', () => {
  it('refuses a store that is there', () => {
    const outcome = onMount(
      '8m',
      'cp "$2" "$1"/ && mount -o remount,bind,ro "$1"',
      'console.log(JSON.stringify(attempt(open)))',
    );
    expect(outcome).toEqual({ code: 'store_read_only', named: true });
  });

  it('refuses to make one', () => {
    const prepare = 'mount -o remount,bind,ro "$1"';
    const outcome = onMount('8m', prepare, 'console.log(JSON.stringify(attempt(open)))');
    expect(outcome).toEqual({ code: 'store_read_only', named: true });
  });
});

describe('a full disk', () => {
  it('fails a claim whole, keeps what was committed, and works again when there is room', () => {
    const outcome = onMount(
      '4m',
      'cp "$2" "$1"/',
      `const store = open();
       claim(store, [POOL], range);
       writeFileSync('${folder}/mount/filler', Buffer.alloc(statfsSync('${folder}/mount').bfree * 4096));
       const many = Array.from({ length: 20000 }, () => POOL);
       const failed = attempt(() => claim(store, many, range));
       const kept = listLeases(store).length;
       store.close();
       const reopened = attempt(() => { const again = open(); return { leases: listLeases(again).length, close: again.close() }; });
       execFileSync('rm', ['${folder}/mount/filler']);
       const after = open();
       const more = claim(after, [POOL], range).map((lease) => lease.slot);
       console.log(JSON.stringify({ failed, kept, reopened, more, total: listLeases(after).length }));`,
    );
    expect(outcome).toEqual({
      failed: { code: 'store_full', named: true },
      kept: 1,
      reopened: { leases: 1 },
      more: [2],
      total: 2,
    });
  });

  it('is said where a store would be made', () => {
    const outcome = onMount('256k', 'true', 'console.log(JSON.stringify(attempt(open)))');
    expect(outcome).toEqual({ code: 'store_full', named: true });
  });
});

describe('a crash', () => {
  it('in a transaction keeps what was committed before and nothing of it', () => {
    const image = join(folder, 'image.db');
    {
      using store = open();
      claim(store, [POOL], range);
      store.transaction('full', () => {
        claim(store, [POOL, POOL], range);
        // What SIGKILL leaves: the files as the kernel has them, without a farewell of SQLite.
        for (const suffix of ['', '-wal']) copyFileSync(`${path}${suffix}`, `${image}${suffix}`);
      });
      expect(listLeases(store)).toHaveLength(3);
    }
    using revived = openStore(image, systemClock());
    expect(listLeases(revived).map(({ slot }) => slot)).toEqual([1]);
  });
});
