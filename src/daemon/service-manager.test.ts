import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InputError } from '../errors.ts';
import { SyscallError } from '../linux/syscall.ts';
import { DatagramReceiver } from '../linux/testing/datagram-receiver.ts';
import { ServiceManager } from './service-manager.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-notify-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function unexpected(error: unknown): never {
  throw error;
}

describe.each([
  ['a path', () => join(folder, 'notify')],
  ['an abstract name', () => `@culvert-test-${randomBytes(8).toString('hex')}`],
])('a service manager at %s', (_, nameOf) => {
  it('hears that the daemon is ready, lives and stops', async () => {
    const name = nameOf();
    using receiver = new DatagramReceiver(name);
    const environment = { NOTIFY_SOCKET: name, WATCHDOG_USEC: '4000', WATCHDOG_PID: String(process.pid) };
    using manager = new ServiceManager(environment, unexpected);
    manager.ready('Serving\nhere');
    expect(receiver.received()).toEqual(['READY=1\nSTATUS=Serving here']);

    let answers = 0;
    manager.watch(() => Promise.resolve(++answers));
    expect(await receiver.until(() => answers >= 3)).toContain('WATCHDOG=1');
    manager.stopping();
    const last = receiver.received();
    expect(last.at(-1)).toBe('STOPPING=1');
    expect(last.slice(0, -1).every((datagram) => datagram === 'WATCHDOG=1')).toBe(true);
  });
});

describe('a sign of life', () => {
  it('is not given while the kernel thread does not answer, and is again when it does', async () => {
    const name = join(folder, 'notify');
    using receiver = new DatagramReceiver(name);
    using manager = new ServiceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: '2000' }, unexpected);
    const { promise, resolve } = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    let questions = 0;
    manager.watch(() => {
      questions++;
      asked.resolve();
      return questions === 1 ? promise : Promise.resolve();
    });
    await asked.promise;
    await new Promise((done) => {
      setTimeout(done, 20);
    });
    expect([questions, receiver.received()]).toEqual([1, []]);
    resolve();
    await receiver.until((datagram) => datagram === 'WATCHDOG=1');
  });

  it('is not given when the kernel thread fails, which is reported', async () => {
    const name = join(folder, 'notify');
    using receiver = new DatagramReceiver(name);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    using manager = new ServiceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: '2000' }, resolve);
    manager.watch(() => Promise.reject(new Error('the kernel thread has ended')));
    expect(await promise).toMatchObject({ message: 'the kernel thread has ended' });
    expect(receiver.received()).toEqual([]);
  });

  it('is asked for of this process, or not at all', async () => {
    const name = join(folder, 'notify');
    using receiver = new DatagramReceiver(name);
    for (const extra of [{}, { WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' }]) {
      using manager = new ServiceManager({ NOTIFY_SOCKET: name, ...extra }, unexpected);
      manager.watch(() => Promise.reject(new Error('asked')));
      await new Promise((done) => {
        setTimeout(done, 20);
      });
    }
    expect(receiver.received()).toEqual([]);
  });
});

describe('an environment', () => {
  it('without a service manager is fine', () => {
    using manager = new ServiceManager({ WATCHDOG_USEC: '1000' }, unexpected);
    manager.ready('here');
    manager.watch(() => Promise.reject(new Error('asked')));
    manager.stopping();
  });

  it.each(['relative/path', 'vsock:2:1234', '@', `/${'x'.repeat(108)}`])('with NOTIFY_SOCKET=%s is refused', (name) => {
    expect(() => new ServiceManager({ NOTIFY_SOCKET: name }, unexpected)).toThrow(InputError);
  });

  it('with a socket that nobody listens at is refused', () => {
    expect(() => new ServiceManager({ NOTIFY_SOCKET: join(folder, 'none') }, unexpected)).toThrow(SyscallError);
  });

  it.each(['', '0', '-1', 'soon', '1.5'])('with WATCHDOG_USEC=%j is refused', (period) => {
    expect(() => new ServiceManager({ WATCHDOG_USEC: period }, unexpected)).toThrow(/WATCHDOG_USEC/);
  });
});

it('tells that the service manager has gone away, and goes on', () => {
  const name = join(folder, 'notify');
  const reports: unknown[] = [];
  const receiver = new DatagramReceiver(name);
  using manager = new ServiceManager({ NOTIFY_SOCKET: name }, (error) => reports.push(error));
  receiver[Symbol.dispose]();
  manager.stopping();
  expect(reports).toMatchObject([
    { message: expect.stringMatching(/tell the service manager at .*notify: ECONNREFUSED/) },
  ]);
});
