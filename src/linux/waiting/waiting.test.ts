import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processOf } from '../process.ts';
import { Bell } from './bell.ts';
import { readable } from './poll.ts';
import { ProcessEnd } from './process-end.ts';

let child: ChildProcess;

beforeEach(async () => {
  child = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
  await once(child, 'spawn');
});
afterEach(() => void child.kill('SIGKILL'));

function idOf({ pid = 0 }: ChildProcess): { pid: number; startTicks: number } {
  const id = processOf(pid);
  if (id === undefined) throw new Error('It has not begun');
  return id;
}

describe('the end of a process', () => {
  it('can be read from when it is there, and not before', () => {
    using end = ProcessEnd.of(idOf(child));
    if (end === undefined) throw new Error('It has ended');
    expect([...readable([end.fd], 0)]).toEqual([]);
    child.kill('SIGKILL');
    expect([...readable([end.fd], Number.POSITIVE_INFINITY)]).toEqual([end.fd]);
  });

  it('is not that of another that has its number now', () => {
    const { pid, startTicks } = idOf(child);
    expect(ProcessEnd.of({ pid, startTicks: startTicks - 1 })).toBeUndefined();
  });

  it('is there already where nobody has the number, or nobody can', async () => {
    const id = idOf(child);
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
    expect(ProcessEnd.of(id)).toBeUndefined();
    expect([0, 0x7fffffff].map((pid) => ProcessEnd.of({ pid, startTicks: 0 }))).toEqual([undefined, undefined]);
  });
});

describe('a bell', () => {
  it('wakes who waits for several things, and stays rung', () => {
    using bell = new Bell();
    using other = new Bell();
    expect([...readable([bell.fd, other.fd], 1)]).toEqual([]);
    other.ring();
    for (const timeout of [0, Number.POSITIVE_INFINITY]) {
      expect([...readable([bell.fd, other.fd], timeout)]).toEqual([other.fd]);
    }
  });
});
