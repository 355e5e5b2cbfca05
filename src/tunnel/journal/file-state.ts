import { lstatSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { z } from 'zod';
import { CulvertError } from '../../errors.ts';

/** What is kept of a file in a journal is not larger. */
const MAX_BYTES = 1 << 20;

const bytes = z.base64();

/** What stands at a path; contents and targets of links are in base64, since neither need be text. */
export const FILE_STATE = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('absent') }),
  z.strictObject({ kind: z.literal('file'), bytes, mode: z.int(), uid: z.int(), gid: z.int() }),
  // the bytes are of what it leads to; none where it leads nowhere
  z.strictObject({ kind: z.literal('link'), target: bytes, bytes: bytes.optional() }),
]);

export type FileState = z.infer<typeof FILE_STATE>;

/** @throws CulvertError `file_unreadable` */
export function readFileState(path: string): FileState {
  const stats = whereThere(path, () => lstatSync(path));
  if (stats === undefined) return { kind: 'absent' };
  if (stats.isSymbolicLink()) {
    const target = readlinkSync(path, 'buffer').toString('base64');
    const found = whereThere(path, () => readFileSync(path));
    return found === undefined ? { kind: 'link', target } : { kind: 'link', target, bytes: encode(path, found) };
  }
  if (!stats.isFile()) throw unreadable(path, `it is ${kindOf(stats)}`);
  const found = whereThere(path, () => readFileSync(path));
  if (found === undefined) return { kind: 'absent' };
  const { mode, uid, gid } = stats;
  return { kind: 'file', bytes: encode(path, found), mode: mode & 0o7777, uid, gid };
}

/** What a reader of the path gets; undefined where there is nothing to read. */
export function contentOf(state: FileState): Buffer | undefined {
  return state.kind === 'absent' || state.bytes === undefined ? undefined : Buffer.from(state.bytes, 'base64');
}

function encode(path: string, found: Buffer): string {
  if (found.length > MAX_BYTES)
    throw unreadable(path, `it has ${found.length} bytes, and ${MAX_BYTES} are kept at most`);
  return found.toString('base64');
}

function whereThere<T>(path: string, body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw unreadable(path, code ?? String(error), error);
  }
}

function kindOf(stats: Stats): string {
  return stats.isDirectory() ? 'a folder' : 'neither a file nor a link';
}

function unreadable(path: string, reason: string, cause?: unknown): CulvertError {
  return new CulvertError('file_unreadable', `Cannot read ${path}: ${reason}`, { cause });
}
