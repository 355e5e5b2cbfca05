import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Where a path leads in the mount namespace of the calling thread. */
export type FilePlace = {
  /** tells apart what one path is in different mount namespaces, as `ip netns exec` and containers have them */
  readonly key: string;
  /** something is mounted on it: it can be written, and not replaced */
  readonly isMount: boolean;
};

export function placeOf(path: string): FilePlace {
  const real = realPath(path);
  const isMount = mountPoints().has(real);
  // what is mounted keeps its inode, what is replaced does not, but its folder does
  const { dev, ino } = statSync(isMount ? real : dirname(path));
  return { key: `${dev}-${ino}`, isMount };
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return path;
    throw error;
  }
}

/** See proc_pid_mountinfo(5): the fifth field, in which white space is written in octal. */
function mountPoints(): Set<string> {
  const lines = readFileSync('/proc/thread-self/mountinfo', 'utf8').split('\n');
  const unescape = (field: string): string =>
    field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return new Set(lines.map((line) => unescape(line.split(' ')[4] ?? '')));
}
