import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { CulvertError } from '../../errors.ts';
import { addClientCommand, type Common, clientOf } from '../command.ts';
import { print, printJson } from '../output.ts';

type Options = Common & { readonly purge?: true };

/** ms: ten thousand sandboxes take some seconds */
const PURGE_TIMEOUT_MS = 600_000;

/** ms that the process may take to end after it has said that it stops */
const GONE_TIMEOUT_MS = 30_000;

const POLL_MS = 10;

export function addDown(program: Command): void {
  addClientCommand(program, {
    usage: 'down',
    summary: 'Stop the daemon, and leave the sandboxes running',
    details: 'Returns when its process is gone.',
    examples: [
      ['culvert down', 'stop; the sandboxes’ traffic goes on'],
      ['culvert down --purge', 'remove every sandbox and all that is Culvert’s on this host first'],
    ],
  })
    .option('--purge', 'remove everything that is Culvert’s on this host first, and nothing else')
    .action(down);
}

async function down({ json, purge: wanted, ...options }: Options): Promise<void> {
  const purge = wanted === true;
  using client = clientOf(options, purge ? { timeoutMs: PURGE_TIMEOUT_MS } : {});
  const { pid, purged } = await client.shutdown({ purge });
  await gone(pid);
  if (json) printJson({ pid, purged });
  else print(purged ? `Stopped (pid ${pid}), and removed everything` : `Stopped (pid ${pid}); the sandboxes run on`);
}

async function gone(pid: number): Promise<void> {
  const deadline = performance.now() + GONE_TIMEOUT_MS;
  while (isAlive(pid)) {
    if (performance.now() > deadline) {
      const message = `Cannot wait longer for the daemon to end: process ${pid} is there ${GONE_TIMEOUT_MS / 1000} s after it was told to stop`;
      throw new CulvertError('daemon_lingers', message);
    }
    await pause(POLL_MS);
  }
}

/** One that ended and that its parent has not asked about (a zombie) holds nothing any more. */
function isAlive(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc_pid_stat(5): the state follows the name, which may hold anything but ends at the last bracket
    return !/^[ZX]/.test(status.slice(status.lastIndexOf(')') + 2));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return false;
    throw error;
  }
}
