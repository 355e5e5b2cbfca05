import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabEtcd } from '../../../lab/etcd.ts';
import type { News, Registry } from '../registry.ts';
import { type EtcdOptions, EtcdRegistry } from './registry.ts';

/* What etcd does when it is away, refuses, forgets or speaks TLS; what every registry does, registry.test.ts tells. */

let opened: AsyncDisposableStack;
let giveUp: AbortController;
beforeEach(() => {
  opened = new AsyncDisposableStack();
  giveUp = new AbortController();
});
afterEach(async () => {
  giveUp.abort();
  await opened.disposeAsync();
});

async function start(options?: Parameters<typeof LabEtcd.start>[0]): Promise<LabEtcd> {
  return opened.use(await LabEtcd.start(options));
}

function open(options: Partial<EtcdOptions> & Pick<EtcdOptions, 'endpoints'>): Registry {
  return opened.use(new EtcdRegistry({ namespace: 'test/', timeout_ms: 5000, ...options }));
}

const put = (registry: Registry, key: string, value: string): Promise<number | undefined> =>
  registry.commit([], [{ key, value }]);

/** The values that a follower of everything has, whatever it is told. */
function mirror(registry: Registry): { readonly values: Map<string, string>; readonly all: () => number } {
  const values = new Map<string, string>();
  let all = 0;
  void (async () => {
    for await (const news of registry.follow('', giveUp.signal)) {
      if (news.kind === 'all') all++;
      tell(values, news);
    }
  })();
  return { values, all: () => all };
}

function tell(values: Map<string, string>, news: News): void {
  if (news.kind === 'all') {
    values.clear();
    for (const { key, value } of news.entries) values.set(key, value);
    return;
  }
  for (const { key, value } of news.changes) {
    if (value === undefined) values.delete(key);
    else values.set(key, value);
  }
}

type Found = { readonly kvs: readonly { readonly key: string; readonly value: string }[] };

const PATIENCE = { timeout: 30_000, interval: 20 };

describe('etcd', { timeout: 120_000 }, () => {
  it.each(['killed', 'halted'])('that is %s is away for as long, and who follows misses nothing', async (how) => {
    const etcd = await start();
    const registry = open({ endpoints: etcd.endpoints });
    const { values, all } = mirror(registry);
    await put(registry, 'a', '1');
    await expect.poll(() => values.get('a'), PATIENCE).toBe('1');
    if (how === 'killed') await etcd.kill(0);
    else etcd.halt(0);
    const began = performance.now();
    await expect(registry.list('')).rejects.toMatchObject({
      code: 'registry_unavailable',
      message: expect.stringContaining(`in the registry ${registry.name}: `),
    });
    await expect(put(registry, 'a', '2')).rejects.toMatchObject({ code: 'registry_unavailable' });
    await expect(registry.grant(5000)).rejects.toMatchObject({ code: 'registry_unavailable' });
    expect(performance.now() - began).toBeLessThan(20_000);
    if (how === 'killed') etcd.launch(0);
    else etcd.go(0);
    await etcd.ready();
    await expect.poll(() => put(registry, 'b', '3').catch(() => undefined), PATIENCE).toBeDefined();
    await expect.poll(() => values.get('b'), PATIENCE).toBe('3');
    expect(all()).toBe(1);
  });

  it('goes on with one member of three lost, and not with two', async () => {
    const etcd = await start({ members: 3 });
    const registry = open({ endpoints: etcd.endpoints });
    const { values } = mirror(registry);
    await put(registry, 'a', '1');
    const lease = await registry.grant(60_000);
    await etcd.kill(0);
    await expect.poll(() => put(registry, 'a', '2').catch(() => undefined), PATIENCE).toBeDefined();
    await expect.poll(() => values.get('a'), PATIENCE).toBe('2');
    await expect.poll(() => lease.keepAlive().then(() => 'alive'), PATIENCE).toBe('alive');
    await etcd.kill(1);
    await expect(put(registry, 'a', '3')).rejects.toMatchObject({ code: 'registry_unavailable' });
    etcd.launch(0);
    etcd.launch(1);
    await expect.poll(() => put(registry, 'a', '4').catch(() => undefined), PATIENCE).toBeDefined();
    await expect.poll(() => values.get('a'), PATIENCE).toBe('4');
    await expect
      .poll(
        () =>
          lease.keepAlive().then(
            () => 'alive',
            () => 'away',
          ),
        PATIENCE,
      )
      .toBe('alive');
  });

  it('tells everything again to who was away for longer than it keeps', async () => {
    const etcd = await start();
    const [registry, other] = [open({ endpoints: etcd.endpoints }), open({ endpoints: etcd.endpoints })];
    const { values, all } = mirror(registry);
    await put(other, 'a', '1');
    await expect.poll(() => values.get('a'), PATIENCE).toBe('1');
    await etcd.kill(0);
    await expect(registry.list('')).rejects.toMatchObject({ code: 'registry_unavailable' });
    // the follower cannot come back before everything is as it is to be
    etcd.launch(0, { port: 12_379 });
    await etcd.ready();
    for (let value = 0; value < 5; value++) etcd.control('put', 'test/a', `${value}`);
    etcd.control('del', 'test/a');
    const revision = Number(etcd.control('put', 'test/b', '', '--write-out=json').match(/"revision":(\d+)/)?.[1]);
    etcd.control('compact', `${revision}`, '--physical');
    await etcd.kill(0);
    etcd.launch(0);
    await etcd.ready();
    await expect.poll(() => registry.list('').catch(() => undefined), PATIENCE).toBeDefined();
    await expect.poll(() => Object.fromEntries(values), PATIENCE).toEqual({ b: '' });
    expect(all()).toBe(2);
  });

  it('that was put back from nothing is followed from the beginning', async () => {
    const etcd = await start();
    const registry = open({ endpoints: etcd.endpoints });
    const { values } = mirror(registry);
    for (let value = 0; value < 10; value++) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await put(registry, 'a', `${value}`);
    }
    await expect.poll(() => values.get('a'), PATIENCE).toBe('9');
    await etcd.kill(0);
    etcd.forget(0);
    await expect(registry.list('')).rejects.toMatchObject({ code: 'registry_unavailable' });
    etcd.launch(0);
    await etcd.ready();
    await expect.poll(() => put(registry, 'b', '1').catch(() => undefined), PATIENCE).toBeDefined();
    await expect.poll(() => Object.fromEntries(values), PATIENCE).toEqual({ b: '1' });
  });

  it.each([
    ['changed', ['put test/c 3']],
    ['changed the same', ['put test/a 2', 'del test/b']],
    ['not changed', ['put other/x 1', 'put other/x 2', 'put other/x 3']],
  ])('that was put back from a backup, and has %s since, is read again', async (_, since) => {
    const etcd = await start();
    const registry = open({ endpoints: etcd.endpoints });
    const { values, all } = mirror(registry);
    await put(registry, 'a', '0');
    await put(registry, 'b', '0');
    const snapshot = join(etcd.folder, 'backup');
    etcd.control('snapshot', 'save', snapshot);
    await put(registry, 'a', '1');
    await expect.poll(() => Object.fromEntries(values), PATIENCE).toEqual({ a: '1', b: '0' });
    await etcd.kill(0);
    await expect(registry.list('')).rejects.toMatchObject({ code: 'registry_unavailable' });
    etcd.restore(0, snapshot);
    // the follower comes back when its revisions have passed what was told
    etcd.launch(0, { port: 12_379 });
    await etcd.ready();
    for (const command of since) etcd.control(...command.split(' '));
    for (let count = 0; count < 3; count++) etcd.control('put', 'other/y', '');
    const now = JSON.parse(etcd.control('get', '--prefix', 'test/', '--write-out=json')) as Found;
    await etcd.kill(0);
    etcd.launch(0);
    await etcd.ready();
    await expect.poll(() => registry.list('').catch(() => undefined), PATIENCE).toBeDefined();
    const text = (base64: string): string => Buffer.from(base64, 'base64').toString();
    const wanted = now.kvs.map(({ key, value }) => [text(key).slice('test/'.length), text(value)]);
    await expect.poll(() => Object.fromEntries(values), PATIENCE).toEqual(Object.fromEntries(wanted));
    expect(all()).toBe(2);
  });

  it('that was put back from a backup while a follower rests is read again', async () => {
    const etcd = await start();
    const registry = open({ endpoints: etcd.endpoints });
    // so many that the rest is long enough for all that follows
    for (let some = 0; some < 50; some++) {
      const writes = Array.from({ length: 50 }, (_, index) => ({ key: `n/${some}/${index}`, value: '0' }));
      await registry.commit([], writes);
    }
    const { values, all } = mirror(registry);
    await expect.poll(() => all(), PATIENCE).toBe(1);
    const snapshot = join(etcd.folder, 'backup');
    etcd.control('snapshot', 'save', snapshot);
    for (let count = 0; count < 8; count++) await put(registry, 'x', String(count));
    await expect.poll(() => Number(values.get('x')), PATIENCE).toBeGreaterThan(3);
    await etcd.kill(0);
    etcd.restore(0, snapshot);
    etcd.launch(0, { port: 12_379 });
    await etcd.ready();
    for (let count = 0; count < 10; count++) etcd.control('put', 'test/y', String(count));
    await etcd.kill(0);
    etcd.launch(0);
    await etcd.ready();
    await expect.poll(() => [values.get('x'), values.get('y')], PATIENCE).toEqual([undefined, '9']);
    expect(values.size).toBe(2501);
    expect(all()).toBe(2);
  });

  it('takes a user and a password, and a new token where the old one is no more', async () => {
    const etcd = await start();
    const user = { name: 'culvert', password: 'right' };
    etcd.requireUsers({ ...user, prefix: 'test/' });
    const registry = open({ endpoints: etcd.endpoints, user });
    const { values } = mirror(registry);
    await put(registry, 'a', '1');
    await expect.poll(() => values.get('a'), PATIENCE).toBe('1');
    const lease = await registry.grant(60_000);
    for (const wrong of [undefined, { ...user, password: 'wrong' }]) {
      const denied = open({ endpoints: etcd.endpoints, ...(wrong && { user: wrong }) });
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect(denied.list('')).rejects.toMatchObject({ code: 'registry_denied' });
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await expect(denied.follow('', giveUp.signal)[Symbol.asyncIterator]().next()).rejects.toMatchObject({
        code: 'registry_denied',
        message: expect.not.stringContaining('wrong'),
      });
    }
    const elsewhere = open({ endpoints: etcd.endpoints, user, namespace: 'not his/' });
    await expect(elsewhere.list('')).rejects.toMatchObject({ code: 'registry_denied' });
    await etcd.kill(0);
    etcd.launch(0);
    await expect
      .poll(
        () =>
          lease.keepAlive().then(
            () => 'alive',
            () => 'away',
          ),
        PATIENCE,
      )
      .toBe('alive');
    await expect.poll(() => put(registry, 'a', '2').catch(() => undefined), PATIENCE).toBeDefined();
    await expect.poll(() => values.get('a'), PATIENCE).toBe('2');
    expect(etcd.control('get', 'test/a')).toContain('2');
  });

  it('speaks TLS with who has a certificate of its authority', async () => {
    const etcd = await start({ tls: true });
    const registry = open({ endpoints: etcd.endpoints, tls: etcd.certificates });
    expect(await put(registry, 'a', '1')).toBeDefined();
    const { ca } = etcd.certificates;
    await expect(open({ endpoints: etcd.endpoints, tls: { ca } }).list('')).rejects.toMatchObject({
      code: 'registry_unavailable',
    });
    await expect(open({ endpoints: etcd.endpoints }).list('')).rejects.toMatchObject({ code: 'registry_unavailable' });
    const stranger = await start({ tls: true });
    await expect(open({ endpoints: stranger.endpoints, tls: etcd.certificates }).list('')).rejects.toMatchObject({
      code: 'registry_unavailable',
      message: expect.stringMatching(/certificate/),
    });
  });

  it('that is told a thousand things at once tells all of them, in order', async () => {
    const etcd = await start();
    const registry = open({ endpoints: etcd.endpoints });
    const { values, all } = mirror(registry);
    const heard: number[] = [];
    void (async () => {
      for await (const news of registry.follow('n', giveUp.signal)) {
        const told = news.kind === 'all' ? news.entries : news.changes;
        heard.push(...told.map(({ value }) => Number(value)));
      }
    })();
    await expect.poll(() => all(), PATIENCE).toBe(1);
    for (let number = 0; number < 1000; number++) await put(registry, `n${number % 7}`, String(number));
    await expect.poll(() => heard.at(-1), PATIENCE).toBe(999);
    expect(heard.slice(heard.indexOf(999 - 500))).toEqual(Array.from({ length: 501 }, (_, index) => 499 + index));
    expect([...values.values()].map(Number).toSorted((a, b) => a - b)).toEqual([993, 994, 995, 996, 997, 998, 999]);
    expect(all()).toBe(1);
  });

  it('has leases kept over a stream that is opened anew where it was cut', async () => {
    const etcd = await start();
    const registry = open({ endpoints: etcd.endpoints });
    const leases = await Promise.all(Array.from({ length: 20 }, () => registry.grant(60_000)));
    const keep = (): Promise<void[]> => Promise.all(leases.map((lease) => lease.keepAlive()));
    await keep();
    await leases[7]?.revoke();
    await expect(keep()).rejects.toMatchObject({ code: 'registry_lease_lost' });
    leases.splice(7, 1);
    await keep();
    etcd.halt(0);
    await expect(keep()).rejects.toMatchObject({ code: 'registry_unavailable' });
    etcd.go(0);
    await etcd.ready();
    await keep();
    await etcd.kill(0);
    await expect(keep()).rejects.toMatchObject({ code: 'registry_unavailable' });
    etcd.launch(0);
    await etcd.ready();
    await expect
      .poll(
        () =>
          keep().then(
            () => true,
            () => false,
          ),
        PATIENCE,
      )
      .toBe(true);
  });
});
