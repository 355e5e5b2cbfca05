import { renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../clock.ts';
import { Kernel } from '../../linux/apply.ts';
import { NETLINK_NETFILTER } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { type NamespaceName, ROOT } from '../../plan/state.ts';
import { MachineDns } from '../dns/machine-dns.ts';
import { AlteredSysctls } from '../journal/altered-sysctls.ts';
import { makeFolder } from '../journal/journal.ts';
import { type Folders, foldersOf, INSIDE } from './folders.ts';
import { hold, type Purpose } from './hold.ts';

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
  /** of the root namespace */
  readonly inode: number;
  readonly sysctls: AlteredSysctls;
  /** of the tunnel: for a program's socket, and for who holds it */
  readonly folder: string;
  /** of all tunnels of the namespace */
  readonly common: string;
  /** what outlives a boot, of all namespaces */
  readonly state: string;
  readonly #opened: DisposableStack;

  /**
   * @param namespace path of the one that its link is in; undefined for the root
   * @throws CulvertError `tunnel_in_use`, `folder_unusable`
   */
  constructor(name: string, folders: Folders, namespace: string | undefined, purpose: Purpose = 'keeping') {
    this.name = name;
    using opened = new DisposableStack();
    const { common, state, inode } = foldersOf(folders);
    this.common = common;
    this.state = state;
    this.inode = inode;
    this.dnsName = `${name}.${inode}`;
    this.folder = join(common, name);
    for (const folder of [this.folder, state]) makeFolder(folder);
    opened.use(hold(name, this.folder, purpose));
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

/** At once: who is killed here leaves what it was, by which what is in there is found. */
function pointTo(at: string, path: string | undefined): void {
  const draft = `${at}.draft`;
  rmSync(path === undefined ? at : draft, { force: true });
  if (path === undefined) return;
  symlinkSync(path, draft);
  renameSync(draft, at);
}
