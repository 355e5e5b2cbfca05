import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type ProcessId, processOf } from '../../linux/process.ts';

/** Programs that make WireGuard devices. */
export const WIREGUARD_PROGRAMS: readonly string[] = ['wireguard-go', 'boringtun', 'boringtun-cli', 'wireguard-rs'];

/** Where they have their sockets, each in the mount namespace that it is in. */
const SOCKETS = '/run/wireguard';

/** Processes in the caller's network namespace: those that it may look into. */
export function processesHere(): number[] {
  const own = readlinkSync('/proc/thread-self/ns/net');
  return numbersIn('/proc').filter((pid) => quietly(() => readlinkSync(`/proc/${pid}/ns/net`)) === own);
}

/**
 * Processes that make a device, or did, and have their socket in a folder, though they may not listen there any more: it
 * is the one that stands where they see {@link SOCKETS}.
 *
 * @param name of the device
 */
export function makersOf(folder: string, name: string): ProcessId[] {
  const own = quietly(() => statSync(folder));
  if (own === undefined) return [];
  return processesHere().flatMap((pid) => {
    if (!WIREGUARD_PROGRAMS.includes(programOf(pid))) return [];
    const command = quietly(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    const seen = quietly(() => statSync(join(`/proc/${pid}/root`, SOCKETS)));
    if (command?.split('\0').at(-2) !== name || seen?.dev !== own.dev || seen.ino !== own.ino) return [];
    const id = processOf(pid);
    return id === undefined ? [] : [id];
  });
}

/** Of a process, its executable without folders; empty where it is not to be seen. */
export function programOf(pid: number): string {
  return basename(quietly(() => readlinkSync(`/proc/${pid}/exe`)) ?? '').replace(/ \(deleted\)$/, '');
}

export function numbersIn(folder: string): number[] {
  return (quietly(() => readdirSync(folder)) ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** undefined where it has ended meanwhile, or is not the caller's to see */
export function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (UNSEEN.has(String((error as NodeJS.ErrnoException).code))) return undefined;
    throw error;
  }
}

const UNSEEN: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR', 'EINVAL']);
