import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { CulvertError } from '../errors.ts';

/*
 * The tables of ip_tables, which came before nf_tables and have no netlink: the one tool that speaks to them is run, as
 * a process, in the calling thread's network namespace. Once at a start, never for a sandbox.
 */

const TIMEOUT_MS = 10_000;

/** Whether such a table stands in the calling thread's namespace. */
export function hasLegacyFilter(): boolean {
  try {
    return readFileSync('/proc/thread-self/net/ip_tables_names', 'utf8').split('\n').includes('filter');
  } catch (error) {
    // the kernel has no ip_tables, or has not loaded them
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** The lines of `iptables -S FORWARD`. @throws CulvertError `iptables_failed` */
export function listLegacyForward(): string[] {
  return iptables('-S', 'FORWARD').trim().split('\n');
}

/** Puts rules, as `iptables -S` prints what follows the chain, before all others. */
export function insertLegacyForward(rules: readonly string[]): void {
  for (const rule of rules) iptables('-I', 'FORWARD', ...rule.split(' '));
}

export function deleteLegacyForward(rules: readonly string[]): void {
  for (const rule of rules) iptables('-D', 'FORWARD', ...rule.split(' '));
}

function iptables(...parameters: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('iptables-legacy', ['-w', ...parameters], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  if (error === undefined && status === 0) return stdout;
  const reason = error?.message ?? stderr.trim();
  throw new CulvertError('iptables_failed', `Cannot run iptables-legacy ${parameters.join(' ')}: ${reason}`);
}
