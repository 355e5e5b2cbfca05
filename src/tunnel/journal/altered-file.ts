import { readdirSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { CulvertError } from '../../errors.ts';
import { placeOf } from './file-place.ts';
import { contentOf, FILE_STATE, type FileState, readFileState } from './file-state.ts';
import { dropDraft, refillFile, replaceFile } from './file-write.ts';
import { Journal } from './journal.ts';

/*
 * A file of the machine as tunnels want it, and as it was before the first of them.
 *
 *     journal    none ──► not settled ──► settled ──► not settled ──► none
 *     file       before   before or ours   ours       ours or before  before
 *
 * Wherever a process is killed, the file is one of those that the journal tells of: what was there before, a text that
 * was being written or, where it can only be written in place, a first part of one. Anything else is somebody's who
 * came meanwhile, and stays.
 */

/** What a tunnel wants of the file. */
type Stacked<Want> = { readonly tunnel: string; readonly want: Want };

type Manner = 'replace' | 'in place';

type Content<Want> = {
  readonly version: 1;
  readonly path: string;
  readonly bootId: string;
  readonly before: FileState;
  readonly manner: Manner;
  /** what the file may hold that is ours; one when it is settled */
  readonly texts: readonly string[];
  readonly isSettled: boolean;
  /** in the order they came */
  readonly wants: readonly Stacked<Want>[];
};

type Found<Want> = {
  readonly journal: Journal<Content<Want>>;
  readonly content: Content<Want> | undefined;
  readonly current: FileState;
};

export type AlteredFileOptions<Want> = {
  readonly path: string;
  /** of the journal: it must survive a boot as the file does */
  readonly folder: string;
  readonly bootId: string;
  readonly want: z.ZodType<Want>;
  /** the file as those who have come want it, one at least, the last on top */
  readonly render: (wants: readonly Stacked<Want>[], before: FileState) => string;
};

/** What became of the file when a tunnel let go of it. */
export type Released = 'nothing' | 'restored' | 'rewritten' | 'foreign';

/** What can be written may still be refused to be replaced: linked from elsewhere, in a folder that is read-only. */
const IN_PLACE_AFTER = new Set(['EBUSY', 'EROFS', 'EACCES', 'EPERM', 'EXDEV', 'EINVAL']);

/** Whoever calls it has the turn of the folder. */
export class AlteredFile<Want> {
  readonly #options: AlteredFileOptions<Want>;
  readonly #schema: z.ZodType<Content<Want>>;

  constructor(options: AlteredFileOptions<Want>) {
    this.#options = options;
    this.#schema = z.strictObject({
      version: z.literal(1),
      path: z.string(),
      bootId: z.string(),
      before: FILE_STATE,
      manner: z.enum(['replace', 'in place']),
      texts: z.array(z.string()),
      isSettled: z.boolean(),
      wants: z.array(z.strictObject({ tunnel: z.string(), want: options.want })),
    });
  }

  /** What was there before the first tunnel; undefined where none has altered it. */
  before(): FileState | undefined {
    const { content, current } = this.#look();
    return content !== undefined && isOurs(current, content) ? content.before : undefined;
  }

  /** Who has altered it, the last on top. */
  tunnels(): string[] {
    return this.#look().content?.wants.map(({ tunnel }) => tunnel) ?? [];
  }

  /**
   * Has the file be as a tunnel wants it, on top of all others; it wanted something else before, or nothing.
   *
   * @returns whether somebody had changed the file meanwhile: what they wrote is then what comes back in the end, and
   *   tunnels that came before want nothing any more
   * @throws CulvertError `file_unwritable`, with the file as it was
   */
  set(tunnel: string, want: Want): { readonly wasForeign: boolean } {
    const { journal, content: known, current } = this.#look();
    const wasForeign = known !== undefined && !isOurs(current, known);
    const former = known === undefined || wasForeign ? this.#begin(current) : known;
    const wants = [...former.wants.filter((other) => other.tunnel !== tunnel), { tunnel, want }];
    try {
      this.#bring(journal, { ...former, wants }, current);
    } catch (error) {
      this.#takeBack(journal, former, error);
      throw error;
    }
    return { wasForeign };
  }

  /**
   * Has the file be as the others want it, or as it was before the first. To be called as often as one likes, by
   * whoever comes after.
   *
   * @throws CulvertError `file_unwritable`; the journal stays
   */
  release(tunnel: string): Released {
    const { journal, content, current } = this.#look();
    if (content === undefined) {
      journal.end();
      return 'nothing';
    }
    const wants = content.wants.filter((other) => other.tunnel !== tunnel);
    if (wants.length === content.wants.length && content.isSettled) return 'nothing';
    if (!isOurs(current, content)) {
      dropDraft(this.#options.path);
      journal.end();
      return 'foreign';
    }
    this.#bring(journal, { ...content, wants }, current);
    return wants.length === 0 ? 'restored' : 'rewritten';
  }

  #begin(before: FileState): Content<Want> {
    const { path, bootId } = this.#options;
    const manner = placeOf(path).isMount ? 'in place' : 'replace';
    return { version: 1, path, bootId, before, manner, texts: [], isSettled: true, wants: [] };
  }

  #look(): Found<Want> {
    const { path, folder } = this.#options;
    const current = readFileState(path);
    const journal = new Journal(join(folder, `${basename(path)}.${placeOf(path).key}.json`), this.#schema);
    return { journal, content: journal.read() ?? this.#inherit(journal, current), current };
  }

  /** A disk may have another number after a boot: then the file is known by what is in it. */
  #inherit(journal: Journal<Content<Want>>, current: FileState): Content<Want> | undefined {
    const { path, folder, bootId } = this.#options;
    for (const name of readdirSync(folder)) {
      if (!name.startsWith(`${basename(path)}.`) || !name.endsWith('.json')) continue;
      const other = new Journal(join(folder, name), this.#schema);
      const content = other.read();
      if (content === undefined || content.path !== path || content.bootId === bootId) continue;
      if (!content.texts.some((text) => isText(current, text))) continue;
      renameSync(other.path, journal.path);
      return content;
    }
    return undefined;
  }

  /** Makes the file what those who are in the content want, and the journal say so. */
  #bring(journal: Journal<Content<Want>>, content: Content<Want>, current: FileState): void {
    const { path, render, bootId } = this.#options;
    const { wants, before, texts } = content;
    const text = wants.length === 0 ? undefined : render(wants, before);
    let { manner } = content;
    const isThere = text === undefined ? isSame(current, before, manner) : isText(current, text);
    const mayHold = text === undefined ? texts : [...new Set([...texts, text])];
    const under = { ...content, bootId, texts: mayHold, isSettled: false };
    if (!isThere) {
      journal.write(under);
      attempt(path, () => {
        dropDraft(path);
        manner = put({ path, current, before, text, manner }, () => journal.write({ ...under, manner: 'in place' }));
      });
    } else {
      attempt(path, () => dropDraft(path));
    }
    if (text === undefined) journal.end();
    else journal.write({ ...under, manner, texts: [text], isSettled: true });
  }

  /** After a failure that may have come half-way. */
  #takeBack(journal: Journal<Content<Want>>, former: Content<Want>, failure: unknown): void {
    try {
      const written = journal.read();
      const { texts, manner, isSettled } = written ?? former;
      this.#bring(journal, { ...former, texts, manner, isSettled }, readFileState(this.#options.path));
    } catch (error) {
      const message = `${messageOf(failure)}; and what was there could not be brought back: ${messageOf(error)}`;
      throw new CulvertError('file_unwritable', message, { cause: new AggregateError([failure, error]) });
    }
  }
}

type Put = {
  readonly path: string;
  readonly current: FileState;
  readonly before: FileState;
  /** undefined: as it was before */
  readonly text: string | undefined;
  readonly manner: Manner;
};

/** @param tell to be called before the manner is another than was told */
function put({ path, current, before, text, manner }: Put, tell: () => void): Manner {
  const goal = text === undefined ? before : ourFile(text, before);
  if (manner === 'replace') {
    try {
      replaceFile(path, goal);
      return 'replace';
    } catch (error) {
      const canFill =
        text === undefined ? before.kind === 'file' && current.kind === 'file' : current.kind !== 'absent';
      if (!canFill || !IN_PLACE_AFTER.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
    tell();
  }
  refillFile(path, contentOf(goal) ?? Buffer.alloc(0));
  return 'in place';
}

/** With the mode and owner of what was there. */
function ourFile(text: string, before: FileState): FileState {
  const bytes = Buffer.from(text).toString('base64');
  if (before.kind === 'file') return { ...before, bytes };
  return { kind: 'file', bytes, mode: 0o644, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

/** Whether the file is as a process of ours has left it, wherever that ended. */
function isOurs<Want>(current: FileState, { before, manner, texts, isSettled }: Content<Want>): boolean {
  if (isSame(current, before, manner)) return true;
  // what a link leads to is ours where we wrote through it
  const isWritten =
    current.kind === 'file' || (manner === 'in place' && current.kind === 'link' && isTarget(current, before));
  if (!isWritten) return false;
  if (texts.some((text) => isText(current, text))) return true;
  if (isSettled || manner !== 'in place') return false;
  const found = contentOf(current) ?? Buffer.alloc(0);
  const wholes = [...texts.map((text) => Buffer.from(text)), contentOf(before) ?? Buffer.alloc(0)];
  return wholes.some((whole) => whole.subarray(0, found.length).equals(found));
}

/** Whether what was there before is there; what a link leads to is its owner's to change, unless we did. */
function isSame(current: FileState, before: FileState, manner: Manner): boolean {
  if (current.kind === 'link' && before.kind === 'link')
    return isTarget(current, before) && (manner === 'replace' || current.bytes === before.bytes);
  if (current.kind === 'file' && before.kind === 'file') {
    const { bytes, mode, uid, gid } = before;
    return current.bytes === bytes && current.mode === mode && current.uid === uid && current.gid === gid;
  }
  return current.kind === before.kind;
}

function isTarget(current: FileState, before: FileState): boolean {
  return current.kind === 'link' && before.kind === 'link' && current.target === before.target;
}

function isText(current: FileState, text: string): boolean {
  return contentOf(current)?.equals(Buffer.from(text)) === true;
}

function attempt(path: string, body: () => void): void {
  try {
    body();
  } catch (cause) {
    if (cause instanceof CulvertError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const message = `Cannot write ${path}: ${code ?? String(cause)}; is it immutable (lsattr), or its mount read-only?`;
    throw new CulvertError('file_unwritable', message, { cause });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
