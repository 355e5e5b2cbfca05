import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LabEtcd } from '../../lab/etcd.ts';
import { systemClock } from '../clock.ts';
import { EmbeddedRegistry } from './embedded/registry.ts';
import { EtcdRegistry } from './etcd/registry.ts';
import { KEY_MAX, type News, type Registry, TRANSACTION_MAX, VALUE_MAX } from './registry.ts';

/* What every registry does, whoever asks: each has two that see one another as two daemons do. */

type Backend = AsyncDisposable & {
  /** Another one on the same entries, which are this test's alone. */
  readonly open: () => Registry;
};

async function embedded(): Promise<Backend> {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-registry-'));
  return {
    open: () => new EmbeddedRegistry(join(folder, 'registry.sqlite'), systemClock()),
    [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true }),
  };
}

let etcd: LabEtcd | undefined;
beforeAll(async () => {
  etcd = await LabEtcd.start();
});
afterAll(() => etcd?.[Symbol.asyncDispose]());

async function onEtcd(): Promise<Backend> {
  const namespace = `${randomUUID()}/`;
  return {
    open: () => new EtcdRegistry({ endpoints: etcd?.endpoints ?? [], namespace }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

describe.each([
  { name: 'embedded', make: embedded },
  { name: 'etcd', make: onEtcd },
])('the registry ($name)', { timeout: 60_000 }, ({ make }) => {
  let backend: Backend;
  let one: Registry;
  let other: Registry;
  let giveUp: AbortController;

  beforeEach(async () => {
    backend = await make();
    one = backend.open();
    other = backend.open();
    giveUp = new AbortController();
  });
  afterEach(async () => {
    giveUp.abort();
    await one[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
    await backend[Symbol.asyncDispose]();
  });

  const put = (registry: Registry, entries: Readonly<Record<string, string>>): Promise<number | undefined> =>
    registry.commit(
      [],
      Object.entries(entries).map(([key, value]) => ({ key, value })),
    );
  const values = async (registry: Registry, prefix: string): Promise<Record<string, string>> =>
    Object.fromEntries((await registry.list(prefix)).entries.map(({ key, value }) => [key, value]));
  const follow = (registry: Registry, prefix: string): AsyncIterator<News> =>
    registry.follow(prefix, giveUp.signal)[Symbol.asyncIterator]();
  const next = async (news: AsyncIterator<News>): Promise<News> => {
    const { done, value } = await news.next();
    if (done === true) throw new Error('It has ended');
    return value;
  };

  it('lists what is below a prefix, by key, and as it is', async () => {
    const text = 'a value “with” \u0000, \n and 𝄞';
    const revision = await put(one, { 'a/2': text, 'a/1': '', 'a%': 'x', A: 'y', b: 'z', 'a_/1': 'w' });
    expect(await other.list('a/')).toEqual({
      entries: [
        { key: 'a/1', value: '', revision },
        { key: 'a/2', value: text, revision },
      ],
      revision,
    });
    expect(await values(other, 'a%')).toEqual({ 'a%': 'x' });
    expect(await values(other, 'a_')).toEqual({ 'a_/1': 'w' });
    expect(Object.keys(await values(other, ''))).toEqual(['A', 'a%', 'a/1', 'a/2', 'a_/1', 'b']);
    expect((await other.list('c')).entries).toEqual([]);
    expect(await other.get('a/2')).toEqual({ key: 'a/2', value: text, revision });
    expect(await other.get('a/')).toBeUndefined();
  });

  it('writes everything where all conditions hold, and nothing otherwise', async () => {
    const first = await one.commit(
      [{ key: 'a', revision: 0 }],
      [
        { key: 'a', value: '1' },
        { key: 'b', value: '1' },
      ],
    );
    if (first === undefined) throw new Error('Nothing was there');
    const again = [
      { key: 'a', value: '2' },
      { key: 'c', value: '2' },
    ];
    const stale = [
      { key: 'a', revision: first },
      { key: 'b', revision: first - 1 },
    ];
    expect(await other.commit(stale, again)).toBeUndefined();
    expect(await other.commit([{ key: 'a', revision: 0 }], again)).toBeUndefined();
    expect(await values(one, '')).toEqual({ a: '1', b: '1' });
    const second = await other.commit(
      [
        { key: 'a', revision: first },
        { key: 'c', revision: 0 },
      ],
      again,
    );
    expect(second).toBeGreaterThan(first);
    expect(await one.commit([{ key: 'a', revision: second ?? 0 }], [{ key: 'b', value: undefined }])).toBeDefined();
    expect(await values(one, '')).toEqual({ a: '2', c: '2' });
    expect(await one.commit([{ key: 'b', revision: first }], [{ key: 'b', value: '3' }])).toBeUndefined();
  });

  it('gives what many want at once to one of them', async () => {
    const wanted = Array.from({ length: 20 }, (_, index) => index);
    const claims = wanted.map((index) =>
      (index % 2 === 0 ? one : other).commit([{ key: 'claim', revision: 0 }], [{ key: 'claim', value: `${index}` }]),
    );
    const won = (await Promise.all(claims)).flatMap((revision, index) => (revision === undefined ? [] : [`${index}`]));
    expect(won).toHaveLength(1);
    expect(await values(one, 'claim')).toEqual({ claim: won[0] });
  });

  it('refuses what is too long or too much, and changes nothing', async () => {
    const many = Array.from({ length: TRANSACTION_MAX + 1 }, (_, index) => ({ key: `${index}`, value: '' }));
    const refused = [
      many,
      [{ key: '', value: '' }],
      [{ key: 'k'.repeat(KEY_MAX + 1), value: '' }],
      [{ key: 'a', value: 'é'.repeat(VALUE_MAX / 2 + 1) }],
      [
        { key: 'a', value: '1' },
        { key: 'a', value: '2' },
      ],
    ];
    for (const writes of refused) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect(one.commit([], writes)).rejects.toMatchObject({ code: 'registry_limit' });
    }
    expect(await values(one, '')).toEqual({});
    const most = many.slice(1).map(({ key }) => ({ key: key.padEnd(KEY_MAX, 'k'), value: 'v'.repeat(VALUE_MAX) }));
    expect(await one.commit([], most)).toBeDefined();
  });

  it('lets go of what a lease holds when it ends', async () => {
    const kept = await one.grant(6000);
    const left = await other.grant(6000);
    await one.commit(
      [],
      [
        { key: 'kept', value: '', lease: kept },
        { key: 'stays', value: '', lease: kept },
      ],
    );
    await other.commit(
      [],
      [
        { key: 'left/1', value: '', lease: left },
        { key: 'left/2', value: '', lease: left },
      ],
    );
    await one.commit([], [{ key: 'stays', value: 'for good' }]);
    const news = follow(one, 'left/');
    expect(await next(news)).toMatchObject({ kind: 'all', entries: [{ key: 'left/1' }, { key: 'left/2' }] });
    const keeping = setInterval(() => void kept.keepAlive(), 500);
    try {
      const gone: unknown[] = [];
      while (gone.length < 2) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        const heard = await next(news);
        if (heard.kind === 'changes') gone.push(...heard.changes.map(({ key, value }) => [key, value]));
      }
      expect(gone).toEqual([
        ['left/1', undefined],
        ['left/2', undefined],
      ]);
      expect(await values(one, '')).toEqual({ kept: '', stays: 'for good' });
    } finally {
      clearInterval(keeping);
    }
    await expect(left.keepAlive()).rejects.toMatchObject({ code: 'registry_lease_lost' });
    const late = other.commit(
      [],
      [
        { key: 'b', value: '' },
        { key: 'late', value: '', lease: left },
      ],
    );
    await expect(late).rejects.toMatchObject({ code: 'registry_lease_lost' });
    await left.revoke();
    await kept.revoke();
    expect(await values(one, '')).toEqual({ stays: 'for good' });
  });

  it('tells who follows everything, and then each change once and in order', async () => {
    await put(one, { 'a/1': 'before', b: 'before' });
    const news = follow(other, 'a/');
    expect(await next(news)).toMatchObject({ kind: 'all', entries: [{ key: 'a/1', value: 'before' }] });
    const first = await one.commit(
      [],
      [
        { key: 'a/1', value: 'after' },
        { key: 'a/2', value: 'after' },
        { key: 'b', value: 'after' },
      ],
    );
    await put(other, { b: 'later' });
    const last = await one.commit([], [{ key: 'a/1', value: undefined }]);
    const changes: unknown[] = [];
    while (changes.length < 3) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const heard = await next(news);
      if (heard.kind === 'changes') changes.push(...heard.changes);
    }
    expect(changes).toEqual([
      { key: 'a/1', value: 'after', revision: first },
      { key: 'a/2', value: 'after', revision: first },
      { key: 'a/1', value: undefined, revision: last },
    ]);
    giveUp.abort();
    expect(await news.next()).toEqual({ done: true, value: undefined });
  });

  it('loses no change to who follows while many write', async () => {
    const seen = new Map<string, string>();
    let told = 0;
    const following = (async () => {
      for await (const news of one.follow('n/', giveUp.signal)) {
        if (news.kind === 'all') for (const { key, value } of news.entries) seen.set(key, value);
        else {
          for (const { key, value } of news.changes) {
            told++;
            if (value === undefined) seen.delete(key);
            else seen.set(key, value);
          }
        }
        if (seen.has('n/end')) return;
      }
    })();
    const writers = [one, other].map(async (registry, who) => {
      for (let round = 0; round < 100; round++) {
        const key = `n/${round % 7}`;
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await registry.commit([], [{ key, value: round % 5 === who ? undefined : `${who} ${round}` }]);
      }
    });
    await Promise.all(writers);
    await put(other, { 'n/end': '' });
    await following;
    expect(Object.fromEntries(seen)).toEqual(await values(other, 'n/'));
    expect(told).toBeGreaterThan(0);
  });

  it('ends who follows when it is closed', async () => {
    const news = follow(one, '');
    await next(news);
    const ended = news.next();
    await pause(10);
    await one[Symbol.asyncDispose]();
    expect(await ended).toEqual({ done: true, value: undefined });
  });
});
