import { lstatSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { listenUnix } from './listen.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-listen-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('is for its owner alone from the first moment, whatever files others make meanwhile', async () => {
  const path = join(folder, 'api.sock');
  const server = createServer((socket) => socket.end('heard'));
  // who else is of this process makes files by the umask that there is
  const umask = process.umask(0);
  const listening = listenUnix(server, path);
  expect(lstatSync(path).mode & 0o777).toBe(0o600);
  expect(process.umask(umask)).toBe(0);
  const end = await listening;
  const { promise, resolve } = Promise.withResolvers<string>();
  connect(path).setEncoding('utf8').on('data', resolve);
  expect(await promise).toBe('heard');
  end[Symbol.dispose]();
  server.close();
  expect(lstatSync(path, { throwIfNoEntry: false })).toBeUndefined();
});

it('takes its own path away, and none of another', async () => {
  const path = join(folder, 'api.sock');
  const [one, other] = [createServer(), createServer()];
  const end = await listenUnix(one, path);
  renameSync(path, `${path}.former`);
  const otherEnd = await listenUnix(other, path);
  end[Symbol.dispose]();
  expect(lstatSync(path).isSocket()).toBe(true);
  await expect(listenUnix(createServer(), path)).rejects.toMatchObject({ code: 'socket_taken' });
  otherEnd[Symbol.dispose]();
  for (const server of [one, other]) server.close();
});

it('says why it cannot be', async () => {
  for (const path of [join(folder, 'none', 'api.sock'), join(folder, 'x'.repeat(120))]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await expect(listenUnix(createServer(), path)).rejects.toMatchObject({
      code: 'socket_failed',
      message: expect.stringMatching(/: (ENOENT|EINVAL)$/),
    });
  }
});
