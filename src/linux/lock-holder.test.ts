import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FolderLock } from './folder.ts';
import { lockHolder } from './lock-holder.ts';
import { mount, umount } from './syscall.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-locks-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('knows who has the lock of a file, and takes none', async () => {
  const path = join(folder, 'lock');
  expect(lockHolder(path)).toBeUndefined();
  const lock = new FolderLock(folder);
  expect(lockHolder(path)).toBe(process.pid);
  lock[Symbol.dispose]();
  expect(lockHolder(path)).toBeUndefined();
  const other = spawn('flock', ['--no-fork', path, 'sh', '-c', 'echo has; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(other.stdout, 'data');
  expect(lockHolder(path)).toBe(other.pid);
  expect(() => new FolderLock(folder)).toThrow(expect.objectContaining({ code: 'folder_in_use' }));
  const end = once(other, 'exit');
  other.stdin.end();
  await end;
  expect(lockHolder(path)).toBeUndefined();
});

it('takes no file for another of the same inode in another filesystem', () => {
  const mounted = ['one', 'other'].map((name) => join(folder, name));
  try {
    // inodes of a filesystem in memory are counted from its first on
    for (const at of mounted) {
      mkdirSync(at);
      mount('culvert', at, 'tmpfs', 0, 'mode=0700');
      writeFileSync(join(at, 'lock'), '');
    }
    const [one = '', other = ''] = mounted.map((at) => join(at, 'lock'));
    expect(statSync(one).ino).toBe(statSync(other).ino);
    using _ = new FolderLock(join(folder, 'one'));
    expect([lockHolder(one), lockHolder(other)]).toEqual([process.pid, undefined]);
  } finally {
    for (const at of mounted) umount(at, 0);
  }
});
