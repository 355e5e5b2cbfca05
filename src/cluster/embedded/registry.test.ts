import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HandClock } from '../../../lab/hand-clock.ts';
import type { News } from '../registry.ts';
import { EmbeddedRegistry } from './registry.ts';
import { CHANGES_KEPT } from './schema.ts';

/* What its file and its clock may do; what every registry does, registry.test.ts tells. */

let folder: string;
let path: string;
let clock: HandClock;
let opened: AsyncDisposableStack;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-registry-'));
  path = join(folder, 'registry.sqlite');
  clock = new HandClock();
  opened = new AsyncDisposableStack();
});
afterEach(async () => {
  await opened.disposeAsync();
  rmSync(folder, { recursive: true });
});

const open = (): EmbeddedRegistry => opened.use(new EmbeddedRegistry(path, clock));

it('is a file that nobody else may read', () => {
  open();
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it('keeps what was written', async () => {
  const first = new EmbeddedRegistry(path, clock);
  const revision = await first.commit([], [{ key: 'a', value: '1' }]);
  await first[Symbol.asyncDispose]();
  expect(await open().list('')).toEqual({ entries: [{ key: 'a', value: '1', revision }], revision });
});

describe('a file that is no registry', () => {
  it.each([
    [
      'registry_corrupt',
      () => writeFileSync(path, 'not a database, and longer than a header of one would be'.repeat(40)),
    ],
    ['registry_corrupt', () => new DatabaseSync(path).exec('CREATE TABLE other (a)')],
    ['registry_corrupt', () => new DatabaseSync(path).exec('PRAGMA application_id = 7')],
  ] as const)('is refused: %s', (code, make) => {
    make();
    expect(open).toThrow(expect.objectContaining({ code, message: expect.stringContaining(path) }));
  });

  it('is refused where a newer version wrote it', async () => {
    await new EmbeddedRegistry(path, clock)[Symbol.asyncDispose]();
    new DatabaseSync(path).exec('PRAGMA user_version = 99');
    expect(open).toThrow(expect.objectContaining({ code: 'registry_version', message: expect.stringContaining('99') }));
  });
});

it('is away while another process holds it, and says so', async () => {
  const registry = open();
  const other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE');
  await expect(registry.list('')).rejects.toMatchObject({ code: 'registry_unavailable' });
  other.exec('ROLLBACK');
  expect(await registry.commit([], [{ key: 'a', value: '' }])).toBeDefined();
  other.close();
});

it('is away where it cannot be opened, and is there when it can', async () => {
  mkdirSync(path);
  const registry = open();
  const message = expect.stringContaining(path);
  await expect(registry.get('a')).rejects.toMatchObject({ code: 'registry_unavailable', message });
  rmSync(path, { recursive: true });
  expect(await registry.get('a')).toBeUndefined();
  const closed = new EmbeddedRegistry(join(folder, 'none', 'registry.sqlite'), clock);
  await closed[Symbol.asyncDispose]();
  await expect(closed.get('a')).rejects.toMatchObject({ code: 'registry_unavailable' });
});

it('lets who follows wait for as long as another process holds it, from the first on', async () => {
  const registry = new EmbeddedRegistry(path, clock);
  await registry.commit([], [{ key: 'a', value: '0' }]);
  await registry[Symbol.asyncDispose]();
  const other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE');
  const late = open();
  const giveUp = new AbortController();
  const news = late.follow('', giveUp.signal)[Symbol.asyncIterator]();
  const first = news.next();
  await expect(late.list('')).rejects.toMatchObject({ code: 'registry_unavailable' });
  other.exec('ROLLBACK');
  expect((await first).value).toMatchObject({ kind: 'all', entries: [{ key: 'a', value: '0' }] });
  // and where it has heard before: what is due is to be written
  const lease = await late.grant(1000);
  await late.commit([], [{ key: 'b', value: '', lease }]);
  expect((await news.next()).value).toMatchObject({ kind: 'changes', changes: [{ key: 'b' }] });
  other.exec('BEGIN IMMEDIATE');
  clock.monotonic += 1000;
  const next = news.next();
  await expect(late.list('')).rejects.toMatchObject({ code: 'registry_unavailable' });
  other.exec('ROLLBACK');
  other.close();
  expect((await next).value).toMatchObject({ kind: 'changes', changes: [{ key: 'b', value: undefined }] });
  giveUp.abort();
});

it('has all or nothing of its tables, wherever the first to open it is killed', () => {
  const program = `
    import { EmbeddedRegistry } from '${import.meta.dirname}/registry.ts';
    import { systemClock } from '${import.meta.dirname}/../../clock.ts';
    new EmbeddedRegistry('${path}', systemClock());`;
  const run = (...before: string[]): string | null => {
    const [command, ...parameters] = [...before, process.execPath, '--input-type=module', '-e', program];
    return spawnSync(command, parameters, { stdio: 'ignore' }).signal;
  };
  let killed = 0;
  for (const call of ['pwrite64', 'fsync', 'ftruncate']) {
    for (let nth = 1; ; nth++) {
      const inject = `inject=${call}:signal=KILL:when=${nth}`;
      if (run('strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', inject) === null) break;
      killed++;
      expect(() => open(), `killed at ${call} ${nth}`).not.toThrow();
      for (const name of ['', '-wal', '-shm']) rmSync(`${path}${name}`, { force: true });
    }
  }
  expect(killed).toBeGreaterThan(3);
});

describe('leases', () => {
  it('end by the clock of the machine, not before', async () => {
    const registry = open();
    const lease = await registry.grant(2000);
    await registry.commit([], [{ key: 'a', value: '', lease }]);
    clock.monotonic += 1999;
    clock.wall += 1e12;
    expect((await registry.list('')).entries).toHaveLength(1);
    clock.monotonic += 1;
    expect((await registry.list('')).entries).toEqual([]);
  });

  it('have their whole time again after a boot', async () => {
    const registry = open();
    const lease = await registry.grant(2000);
    await registry.commit([], [{ key: 'a', value: '', lease }]);
    clock.bootId = 'boot-1';
    clock.monotonic = 5;
    expect((await registry.list('')).entries).toHaveLength(1);
    clock.monotonic += 1999;
    expect((await registry.list('')).entries).toHaveLength(1);
    clock.monotonic += 1;
    expect((await registry.list('')).entries).toEqual([]);
  });
});

it('tells everything again to who is further behind than it keeps', async () => {
  const registry = open();
  const giveUp = new AbortController();
  const news = registry.follow('a', giveUp.signal)[Symbol.asyncIterator]();
  const next = async (): Promise<News> => (await news.next()).value as News;
  expect(await next()).toMatchObject({ kind: 'all', entries: [] });
  await registry.commit([], [{ key: 'a', value: '0' }]);
  expect(await next()).toMatchObject({ kind: 'changes', changes: [{ key: 'a', value: '0' }] });
  const keys = Array.from({ length: 50 }, (_, index) => `b${index}`);
  const writes = keys.map((key) => ({ key, value: '' }));
  await registry.commit([], [{ key: 'a', value: '1' }]);
  for (let round = 0; round < CHANGES_KEPT / keys.length; round++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await registry.commit([], writes);
  }
  expect(await next()).toMatchObject({ kind: 'all', entries: [{ key: 'a', value: '1' }] });
  await registry.commit([], [{ key: 'a', value: '2' }]);
  expect(await next()).toMatchObject({ kind: 'changes', changes: [{ key: 'a', value: '2' }] });
  giveUp.abort();
});
