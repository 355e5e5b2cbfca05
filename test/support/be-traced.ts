import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

const idle = new Int32Array(new SharedArrayBuffer(4));

/**
 * From here on strace(1) looks on, with the options in STRACE, which can have it list the system calls of this process or
 * send a signal at one of them.
 */
export function beTraced(options: { readonly allThreads: boolean }): void {
  const given = process.env['STRACE'];
  if (given === undefined) return;
  const parameters = ['-q', ...(options.allThreads ? ['-f'] : []), '-p', String(process.pid), ...given.split(' ')];
  // It ends after this process, which must not wait for it.
  spawn('strace', parameters, { stdio: 'ignore', detached: true }).unref();
  for (let wait = 0; !isTraced(); wait++) {
    if (wait > 10_000) throw new Error('strace did not attach');
    Atomics.wait(idle, 0, 0, 1);
  }
}

function isTraced(): boolean {
  return !/^TracerPid:\s+0$/m.test(readFileSync('/proc/thread-self/status', 'utf8'));
}
