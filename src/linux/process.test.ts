import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { isRunning, processOf } from './process.ts';

it('is running until it ends, and another one of its number is not it', async () => {
  // a name with all that could be taken for fields
  const child = spawn('bash', ['-c', 'printf ") S 1 1" >/proc/self/comm; read'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const id = processOf(child.pid ?? 0);
  expect(id).toMatchObject({ pid: child.pid });
  if (id === undefined) return;
  expect(isRunning(id)).toBe(true);
  expect(isRunning({ ...id, startTicks: id.startTicks - 1 })).toBe(false);
  child.stdin.end('\n');
  await once(child, 'exit');
  expect(processOf(id.pid)).toBeUndefined();
  expect(isRunning(id)).toBe(false);
});

it('is running while one of its threads is, though its first has ended', async () => {
  const script = `
    const { createRequire } = require('node:module');
    const { Worker } = require('node:worker_threads');
    const end = { x64: 60, arm64: 93 }[process.arch]; // SYS_exit: of the calling thread alone
    new Worker('setInterval(() => undefined, 1000)', { eval: true }).once('online', () => {
      createRequire(${JSON.stringify(import.meta.filename)})('koffi').load('libc.so.6').func('long syscall(long, long)')(end, 0);
    });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'inherit'] });
  const stat = (): string => readFileSync(`/proc/${child.pid}/stat`, 'latin1');
  await expect.poll(stat).toMatch(/\) Z /);
  const id = processOf(child.pid ?? 0);
  expect(id).toMatchObject({ pid: child.pid });
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(id === undefined || isRunning(id)).toBe(false);
});

it('is told in ticks since the boot', () => {
  const own = processOf(process.pid);
  const seconds = Number(own?.startTicks) / 100;
  // by a clock that counts from the boot
  expect(performance.timeOrigin / 1000 - seconds).toBeGreaterThan(0);
  expect(processOf(0)).toBeUndefined();
});
