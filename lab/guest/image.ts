import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CulvertError } from '../../src/errors.ts';
import { type Entry, initramfs } from './archive.ts';
import type { GuestKernel } from './kernel.ts';

/** What a guest boots into: the modules that its devices need, busybox, and `init.sh` over them. */
export function guestImage(kernel: GuestKernel): Buffer {
  const busybox = find('busybox', 'busybox-static');
  const modules = kernel.modules('virtio_pci', 'virtio_net');
  const files: Entry[] = [
    { kind: 'file', path: 'init', data: readFileSync(join(import.meta.dirname, 'init.sh')), executable: true },
    { kind: 'file', path: 'bin/busybox', data: readFileSync(busybox), executable: true },
    // They are loaded in the order of their names.
    ...modules.map(({ name, data }, index): Entry => {
      return { kind: 'file', path: `modules/${String(index).padStart(2, '0')}-${name}.ko`, data };
    }),
    ...librariesOf(busybox).map((path): Entry => {
      return { kind: 'file', path: path.slice(1), data: readFileSync(path), executable: true };
    }),
  ];
  const folders = new Set(['proc', 'sys', 'dev', 'modules', ...files.flatMap(({ path }) => foldersAround(path))]);
  return initramfs([
    ...[...folders].map((path): Entry => ({ kind: 'folder', path })),
    { kind: 'character device', path: 'dev/console', major: 5, minor: 1 },
    ...files,
  ]);
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
