import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mount, umount } from '../../../linux/syscall.ts';
import { MachineDns } from '../machine-dns.ts';

/** linux/mount.h */
const MS_RDONLY = 1;
const MS_REMOUNT = 32;
const MS_BIND = 4096;
/** linux/fs.h */
const MNT_DETACH = 2;

/** A folder that has what of a machine bears on its name servers: `etc`, `run` for journals, `bin` for programs. */
export class DnsMachine implements Disposable {
  readonly root: string;
  readonly #mounts: string[] = [];

  constructor(root = mkdtempSync(join(tmpdir(), 'culvert-dns-'))) {
    this.root = root;
    for (const name of ['etc', 'run', 'bin', 'elsewhere']) mkdirSync(join(root, name), { recursive: true });
  }

  get resolvConf(): string {
    return join(this.root, 'etc', 'resolv.conf');
  }

  get journals(): string {
    return join(this.root, 'run');
  }

  dns(bootId = 'boot'): MachineDns {
    return new MachineDns({
      folder: this.journals,
      bootId,
      resolvConf: this.resolvConf,
      interfaceOrder: join(this.root, 'etc', 'interface-order'),
      behindStub: join(this.root, 'elsewhere', 'behind-stub'),
      path: `${join(this.root, 'bin')}:/usr/bin:/bin`,
      programLimit_ms: 2_000,
    });
  }

  /** Mounts a file that has the text on resolv.conf, or on another path. */
  mountFile(text: string | Buffer, path = this.resolvConf, isReadOnly = false): void {
    const source = join(this.root, 'elsewhere', `mounted-${this.#mounts.length}`);
    writeFileSync(source, text);
    if (!existsSync(path)) writeFileSync(path, '');
    mount(source, path, null, MS_BIND);
    this.#mounts.push(path);
    if (isReadOnly) mount('none', path, null, MS_BIND | MS_REMOUNT | MS_RDONLY);
  }

  unmount(): void {
    const path = this.#mounts.pop();
    if (path !== undefined) umount(path, MNT_DETACH);
  }

  /** Has the folder of resolv.conf be read-only, as a mount. */
  freezeEtc(): void {
    const etc = join(this.root, 'etc');
    mount(etc, etc, null, MS_BIND);
    this.#mounts.push(etc);
    mount('none', etc, null, MS_BIND | MS_REMOUNT | MS_RDONLY);
  }

  /** Has the journal be of a disk of another number. */
  renumber(): void {
    for (const name of readdirSync(this.journals)) {
      const other = name.replace(/^(.*)\.(\d+)-(\d+)\.json$/, '$1.9$2-$3.json');
      renameSync(join(this.journals, name), join(this.journals, other));
    }
  }

  /** A program that is a shell script; `$calls` is a file to tell how it was called. */
  program(name: string, script: string): void {
    const path = join(this.root, 'bin', name);
    writeFileSync(path, `#!/bin/sh\ncalls=${join(this.root, 'calls')}\n${script}\n`);
    chmodSync(path, 0o755);
  }

  calls(): string[] {
    const path = join(this.root, 'calls');
    return existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : [];
  }

  /** What stands beside resolv.conf, and what is left to undo. */
  leftovers(): string[] {
    const [etc, run] = ['etc', 'run'].map((name) => readdirSync(join(this.root, name)));
    return [...(etc ?? []), ...(run ?? [])].filter(
      (name) => !['resolv.conf', 'interface-order', 'turn'].includes(name),
    );
  }

  [Symbol.dispose](): void {
    for (const path of this.#mounts.toReversed()) umount(path, MNT_DETACH);
    rmSync(this.root, { recursive: true, force: true });
  }
}
