import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';

/**
 * Who has the lock of a file that flock(2) gives, as /proc/locks tells: to find out takes no lock, which would keep
 * another from it for that moment.
 *
 * @returns its number; undefined where nobody has it, or somebody whom this pid namespace does not have
 */
export function lockHolder(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  const file = identityOf(path);
  for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
    const [, type, , , pid, where] = line.trim().split(/\s+/);
    if (type === 'FLOCK' && where === file) return Number(pid);
  }
  return undefined;
}

/**
 * As /proc/locks says a file: the device is that of the filesystem, of which stat(2) may tell another (btrfs, overlayfs),
 * and so is the inode.
 */
function identityOf(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const info = readFileSync(`/proc/thread-self/fdinfo/${fd}`, 'latin1');
    const [, mount] = /^mnt_id:\s*(\d+)$/m.exec(info) ?? [];
    // Linux tells it from 5.14 on
    const inode = /^ino:\s*(\d+)$/m.exec(info)?.[1] ?? String(fstatSync(fd).ino);
    const mounts = readFileSync('/proc/thread-self/mountinfo', 'latin1').split('\n');
    const [major = 0, minor = 0] = (mounts.find((line) => line.startsWith(`${mount} `))?.split(' ')[2] ?? '')
      .split(':')
      .map(Number);
    const hex = (number: number): string => number.toString(16).padStart(2, '0');
    return `${hex(major)}:${hex(minor)}:${inode}`;
  } finally {
    closeSync(fd);
  }
}
