import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { contentOf, type FileState } from './file-state.ts';
import { syncFolder } from './journal.ts';

/** Makes a path what it is to be, from one moment to the next: nobody ever reads a part. */
export function replaceFile(path: string, state: FileState): void {
  if (state.kind === 'absent') {
    unlinkSync(path);
  } else {
    try {
      draw(draftOf(path), state);
      renameSync(draftOf(path), path);
    } catch (error) {
      dropDraft(path);
      throw error;
    }
  }
  syncFolder(dirname(path));
}

/** Takes away what a process that was killed has left beside a path. */
export function dropDraft(path: string): void {
  // a filesystem that cannot be written refuses to remove even what is not there
  if (lstatSync(draftOf(path), { throwIfNoEntry: false }) !== undefined) unlinkSync(draftOf(path));
}

/** Writes a file that cannot be replaced. Whoever is killed at it leaves it empty, or a first part of what it is to be. */
export function refillFile(path: string, bytes: Buffer): void {
  inside(path, (fd) => {
    ftruncateSync(fd, 0);
    writeAll(fd, bytes);
  });
}

/** {@link refillFile} for bytes that differ from those of the file at their end only: nothing else ever differs. */
export function mendEnd(path: string, bytes: Buffer): void {
  inside(path, (fd) => {
    writeAll(fd, bytes);
    ftruncateSync(fd, bytes.length);
  });
}

function draftOf(path: string): string {
  return `${path}.culvert`;
}

function draw(draft: string, state: Exclude<FileState, { kind: 'absent' }>): void {
  if (state.kind === 'link') {
    symlinkSync(Buffer.from(state.target, 'base64'), draft);
    return;
  }
  const fd = openSync(draft, 'wx', 0o600);
  try {
    fchownSync(fd, state.uid, state.gid);
    fchmodSync(fd, state.mode);
    writeAll(fd, contentOf(state) ?? Buffer.alloc(0));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function inside(path: string, body: (fd: number) => void): void {
  const fd = openSync(path, 'r+');
  try {
    body(fd);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at);
}
