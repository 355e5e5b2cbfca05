import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { type ProcessId, processOf } from '../../linux/process.ts';

/** The process that a TUN link lives by. */
export type TunHolder = {
  readonly process: ProcessId;
  /** of its executable, without folders */
  readonly program: string;
};

/** The driver's device; one may stand elsewhere too, so that its numbers are asked for where the name differs. */
const DEVICE = '/dev/net/tun';

/**
 * Who holds the TUN link of a name: of the processes in the caller's network namespace, those that it may look into. The
 * kernel tells it nowhere else than beside the descriptor (`iff:` in /proc/PID/fdinfo, drivers/net/tun.c).
 */
export function tunHolder(name: string): TunHolder | undefined {
  const own = readlinkSync('/proc/thread-self/ns/net');
  for (const pid of numbersIn('/proc')) {
    if (quietly(() => readlinkSync(`/proc/${pid}/ns/net`)) !== own || !holds(pid, name)) continue;
    const process = processOf(pid);
    if (process !== undefined) return { process, program: programOf(pid) };
  }
  return undefined;
}

function holds(pid: number, name: string): boolean {
  return numbersIn(`/proc/${pid}/fd`).some((fd) => {
    const target = quietly(() => readlinkSync(`/proc/${pid}/fd/${fd}`));
    if (target !== DEVICE) return false;
    const info = quietly(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'));
    return info?.split('\n').includes(`iff:\t${name}`) === true;
  });
}

/** Whether a process runs in a folder, whatever that is called where it is. */
export function isIn(pid: number, folder: string): boolean {
  const [own, wanted] = [`/proc/${pid}/cwd`, folder].map((path) => quietly(() => statSync(path)));
  return own !== undefined && own.ino === wanted?.ino && own.dev === wanted.dev;
}

/** Of a process, its executable without folders; empty where it is not to be seen. */
export function programOf(pid: number): string {
  return basename(quietly(() => readlinkSync(`/proc/${pid}/exe`)) ?? '').replace(/ \(deleted\)$/, '');
}

function numbersIn(folder: string): number[] {
  return (quietly(() => readdirSync(folder)) ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** undefined where it has ended meanwhile, or is not the caller's to see */
function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (
      ['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR', 'EINVAL'].includes(
        String((error as NodeJS.ErrnoException).code),
      )
    ) {
      return undefined;
    }
    throw error;
  }
}
