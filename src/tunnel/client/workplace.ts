import { readFileSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../clock.ts';
import { CulvertError } from '../../errors.ts';
import { Kernel } from '../../linux/apply.ts';
import { FolderLock } from '../../linux/folder.ts';
import { lockHolder } from '../../linux/lock-holder.ts';
import { NETLINK_NETFILTER } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { type NamespaceName, ROOT } from '../../plan/state.ts';
import { MachineDns } from '../dns/machine-dns.ts';
import { AlteredSysctls } from '../journal/altered-sysctls.ts';
import { makeFolder } from '../journal/journal.ts';

const RUN_FOLDER = '/run/culvert/tunnels';
const STATE_FOLDER = '/var/lib/culvert/tunnels';

export type Folders = {
  readonly runFolder?: string;
  readonly stateFolder?: string;
};

/** Where what is of this boot is, all of the calling thread's network namespace, and what outlives a boot. */
export function foldersOf({ runFolder = RUN_FOLDER, stateFolder = STATE_FOLDER }: Folders): {
  readonly common: string;
  readonly state: string;
  /** of the namespace */
  readonly inode: number;
} {
  // a name is one of a network namespace
  const { ino: inode } = statSync('/proc/thread-self/ns/net');
  return { common: join(runFolder, `net-${inode}`), state: stateFolder, inode };
}

/** Of the namespace that a tunnel's link is in, where that is not the root: a link to its path, in the tunnel's folder. */
const INSIDE: NamespaceName = 'inside';

/** Where one tunnel is worked on, by one process at a time: in the network namespace of the thread that opens it. */
export class Workplace implements Disposable {
  readonly name: string;
  readonly kernel: Kernel;
  /** where its link is */
  readonly at: NamespaceName;
  /** path of that; undefined for the root */
  readonly namespace: string | undefined;
  /** of NETLINK_NETFILTER, in the root namespace */
  readonly netfilter: NetlinkSocket;
  readonly dns: MachineDns;
  /** of the tunnel, among those of all namespaces that share a resolv.conf */
  readonly dnsName: string;
  readonly sysctls: AlteredSysctls;
  /** of the tunnel: for a program's socket, and for who holds it */
  readonly folder: string;
  /** of all tunnels of the namespace */
  readonly common: string;
  readonly #opened: DisposableStack;

  /**
   * @param namespace path of the one that its link is in; undefined for the root
   * @throws CulvertError `tunnel_in_use`, `folder_unusable`
   */
  constructor(name: string, folders: Folders, namespace: string | undefined) {
    this.name = name;
    using opened = new DisposableStack();
    const { common, state, inode } = foldersOf(folders);
    this.common = common;
    this.dnsName = `${name}.${inode}`;
    this.folder = join(common, name);
    for (const folder of [this.folder, state]) makeFolder(folder);
    opened.use(held(name, this.folder));
    this.namespace = namespace;
    this.at = namespace === undefined ? ROOT : INSIDE;
    pointTo(join(this.folder, INSIDE), namespace);
    const { bootId } = systemClock();
    this.kernel = opened.use(new Kernel(this.folder, [ROOT]));
    this.netfilter = opened.use(new NetlinkSocket(NETLINK_NETFILTER));
    this.dns = new MachineDns({ folder: state, bootId });
    this.sysctls = new AlteredSysctls(this.common, bootId);
    this.#opened = opened.move();
  }

  /** Where the root namespace is worked on for the tunnel, whose link is in another. */
  get root(): Pick<Workplace, 'kernel' | 'netfilter' | 'dns' | 'dnsName' | 'sysctls' | 'name' | 'folder' | 'at'> {
    const { kernel, netfilter, dns, dnsName, sysctls, name, folder } = this;
    return { kernel, netfilter, dns, dnsName, sysctls, name, folder, at: ROOT };
  }

  [Symbol.dispose](): void {
    this.#opened.dispose();
  }
}

/** Path of the namespace that a tunnel's link was put into last; undefined for the root. */
export function namespaceOf(name: string, folders: Folders = {}): string | undefined {
  try {
    return readlinkSync(join(foldersOf(folders).common, name, INSIDE));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function pointTo(at: string, path: string | undefined): void {
  rmSync(at, { force: true });
  if (path !== undefined) symlinkSync(path, at);
}

function held(name: string, folder: string): FolderLock {
  try {
    return new FolderLock(folder);
  } catch (error) {
    if (!(error instanceof CulvertError && error.code === 'folder_in_use')) throw error;
    const path = join(folder, 'lock');
    // who has it may not have written there yet
    const pid = lockHolder(path) ?? readFileSync(path, 'utf8').trim();
    const message = `Cannot work on tunnel ${name}: pid ${pid} keeps it; end that (culvert disconnect ${name}), or choose another name`;
    throw new CulvertError('tunnel_in_use', message, { cause: error });
  }
}
