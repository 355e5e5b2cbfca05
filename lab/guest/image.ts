import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CulvertError } from '../../src/errors.ts';
import { type Entry, initramfs } from './archive.ts';
import type { GuestKernel } from './kernel.ts';

/** What an image holds besides what it takes to boot. */
export type Contents = {
  readonly modules?: readonly string[];
  /** paths of this machine's; they are commands there, with their libraries */
  readonly programs?: readonly string[];
  /** files and folders of this machine's, by where they are there, without a leading slash */
  readonly files?: Readonly<Record<string, string>>;
};

/** What a guest boots into, piece by piece: the modules that it needs, busybox, `init.sh` over them, and what else is wanted. */
export function guestImage(kernel: GuestKernel, { modules = [], programs = [], files = {} }: Contents): Buffer[] {
  const busybox = find('busybox', 'busybox-static');
  const libraries = new Set([busybox, ...programs].flatMap(librariesOf));
  const entries: Entry[] = [
    fileEntry('init', join(import.meta.dirname, 'init.sh')),
    fileEntry('bin/busybox', busybox),
    // They are loaded in the order of their names.
    ...kernel.modules('virtio_pci', 'virtio_net', ...modules).map(({ name, data }, index): Entry => {
      return { kind: 'file', path: `modules/${String(index).padStart(2, '0')}-${name}.ko`, data };
    }),
    ...[...libraries].map((path) => fileEntry(path.slice(1), path)),
    ...programs.map((path) => fileEntry(`usr/bin/${basename(path)}`, path)),
    ...Object.entries(files).flatMap(([path, from]) => entriesOf(path, from)),
  ];
  const empty = ['proc', 'sys', 'dev', 'run', 'tmp', 'var', 'modules'];
  const folders = new Set([...empty, ...entries.flatMap(({ path }) => foldersAround(path))]);
  return initramfs([
    ...[...folders].map((path): Entry => ({ kind: 'folder', path })),
    { kind: 'character device', path: 'dev/console', major: 5, minor: 1 },
    ...entries,
  ]);
}

function fileEntry(path: string, from: string): Entry {
  return { kind: 'file', path, data: readFileSync(from), executable: true };
}

/** A file, or all files of a folder. */
function entriesOf(path: string, from: string): Entry[] {
  if (!statSync(from).isDirectory()) return [fileEntry(path, from)];
  return readdirSync(from).flatMap((name) => entriesOf(join(path, name), join(from, name)));
}

/**
 * The path of a command.
 *
 * @throws CulvertError `guest_unavailable`, with the Debian package that has it
 */
export function find(command: string, debianPackage: string): string {
  try {
    return execFileSync('which', [command], { encoding: 'utf8' }).trim();
  } catch (cause) {
    const why = `there is no ${command}; install ${debianPackage}`;
    throw new CulvertError('guest_unavailable', `Cannot boot a guest: ${why}`, { cause });
  }
}

/** The static and the dynamic busybox exclude each other, so the one that is there may be either; ldd(1) fails on the former. */
function librariesOf(program: string): string[] {
  const { status, stdout } = spawnSync('ldd', [program], { encoding: 'utf8' });
  return status === 0 ? [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path) : [];
}

/** `lib/x/y` is in `lib` and `lib/x`. */
function foldersAround(path: string): string[] {
  const folder = dirname(path);
  return folder === '.' ? [] : [...foldersAround(folder), folder];
}
