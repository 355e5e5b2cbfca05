import { spawn } from 'node:child_process';
import { once } from 'node:events';
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

it('is told in ticks since the boot', () => {
  const own = processOf(process.pid);
  const seconds = Number(own?.startTicks) / 100;
  // by a clock that counts from the boot
  expect(performance.timeOrigin / 1000 - seconds).toBeGreaterThan(0);
  expect(processOf(0)).toBeUndefined();
});
