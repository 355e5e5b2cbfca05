import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { CulvertError } from '../../errors.ts';
import { isRunning, processOf } from '../../linux/process.ts';
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
  const daemon = processOf(pid);
  if (daemon === undefined) return;
  while (isRunning(daemon)) {
    if (performance.now() > deadline) {
      const message = `Cannot wait longer for the daemon to end: process ${pid} is there ${GONE_TIMEOUT_MS / 1000} s after it was told to stop`;
      throw new CulvertError('daemon_lingers', message);
    }
    await pause(POLL_MS);
  }
}
