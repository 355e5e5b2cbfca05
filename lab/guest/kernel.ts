import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { CulvertError } from '../../src/errors.ts';

/** A module: its name, and its text as insmod(8) takes it. */
export type KernelModule = { readonly name: string; readonly data: Buffer };

/** bytes, of one module */
const MAX_MODULE = 64 * 1024 * 1024;

/** A kernel as Debian's packages lay it down, with its modules. */
export class GuestKernel {
  readonly release: string;
  readonly image: string;
  readonly #folder: string;

  private constructor(release: string) {
    this.release = release;
    this.image = `/boot/vmlinuz-${release}`;
    this.#folder = modulesFolder(release);
  }

  /**
   * The newest kernel that is installed with its modules.
   *
   * @throws CulvertError `guest_unavailable`: there is none, or its image cannot be read
   */
  static find(): GuestKernel {
    const releases = existsSync('/boot')
      ? readdirSync('/boot').flatMap((name) => /^vmlinuz-(\d.*)$/.exec(name)?.[1] ?? [])
      : [];
    const newest = releases
      .filter((release) => existsSync(join(modulesFolder(release), 'modules.dep')))
      .toSorted((left, right) => left.localeCompare(right, 'en', { numeric: true }))
      .at(-1);
    if (newest === undefined) {
      const wanted =
        'no /boot/vmlinuz-* with its modules; install linux-image-cloud-amd64 (Ubuntu: linux-image-virtual)';
      throw new CulvertError('guest_unavailable', `Cannot boot a guest: ${wanted}`);
    }
    const kernel = new GuestKernel(newest);
    try {
      accessSync(kernel.image, constants.R_OK);
    } catch (cause) {
      // Ubuntu installs it so.
      const why = `${kernel.image} is for root only; as root run: chmod a+r ${kernel.image}`;
      throw new CulvertError('guest_unavailable', `Cannot boot a guest: ${why}`, { cause });
    }
    return kernel;
  }

  /**
   * Modules with all that they need, each after what it needs itself. What is built in is left out.
   *
   * @throws CulvertError `guest_unavailable`: the kernel has no such module
   */
  modules(...names: string[]): KernelModule[] {
    const [dependencies, builtin, soft, alias] = ['dep', 'builtin', 'softdep', 'alias'].map((kind) =>
      this.#read(`modules.${kind}`),
    ) as [string, string, string, string];
    const files = moduleFiles(names, { dependencies, builtin, soft, alias });
    return files.map((file) => ({ name: moduleName(file), data: uncompressed(join(this.#folder, file)) }));
  }

  #read(name: string): string {
    return readFileSync(join(this.#folder, name), 'utf8');
  }
}

function modulesFolder(release: string): string {
  return join('/lib/modules', release);
}

/** `kernel/drivers/net/virtio_net.ko.xz` is virtio_net. */
function moduleName(file: string): string {
  return basename(file).replace(/\.ko(\.\w+)?$/, '');
}

type ModuleLists = {
  /**
   * modules.dep: a line for each module, `file: needed needed …`, where what is needed comes first stands last
   * (modules.dep(5), and depmod(8) writes them so)
   */
  readonly dependencies: string;
  /** modules.builtin: a file name for each */
  readonly builtin: string;
  /** modules.softdep: `softdep module pre: wanted … post: wanted …`, by names or aliases (modprobe.d(5)) */
  readonly soft: string;
  /** modules.alias: `alias pattern module` */
  readonly alias: string;
};

function moduleFiles(names: readonly string[], { dependencies, builtin, soft, alias }: ModuleLists): string[] {
  const builtins = new Set(builtin.split('\n').map(moduleName));
  const lines = new Map(dependencies.split('\n').map((line) => [moduleName(line.split(':')[0] ?? ''), line]));
  const wanted = new Map(
    [...soft.matchAll(/^softdep (\S+) pre: ([^:\n]+?)(?: post:.*)?$/gm)].map(([, module = '', pre = '']) => [
      module,
      pre,
    ]),
  );
  const modulesOf = (name: string): string[] => {
    const [, of] = new RegExp(`^alias ${name.replaceAll('-', '[-_]')} (\\w+_generic)$`, 'm').exec(alias) ?? [];
    return [name, of ?? ''].filter((one) => lines.has(one));
  };
  /** A file after those that it calls for while it is loaded: nothing is found by an alias there. */
  const withWanted = (file: string): string[] => {
    const pre = wanted.get(moduleName(file))?.split(' ') ?? [];
    return [...pre.flatMap(modulesOf).flatMap(filesOf), file];
  };
  const filesOf = (name: string): string[] => {
    if (builtins.has(name)) return [];
    const line = lines.get(name);
    if (line === undefined) throw new CulvertError('guest_unavailable', `Cannot boot a guest: no module ${name}`);
    const [file = '', needed = ''] = line.split(':');
    return [...needed.split(' ').filter(Boolean).toReversed(), file].flatMap(withWanted);
  };
  return [...new Set(names.flatMap(filesOf))];
}

function uncompressed(file: string): Buffer {
  if (file.endsWith('.xz')) return execFileSync('busybox', ['unxz', '-c', file], { maxBuffer: MAX_MODULE });
  const data = readFileSync(file);
  if (file.endsWith('.gz')) return gunzipSync(data, { maxOutputLength: MAX_MODULE });
  if (file.endsWith('.zst')) return zstdDecompressSync(data, { maxOutputLength: MAX_MODULE });
  return data;
}
