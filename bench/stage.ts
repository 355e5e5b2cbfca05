import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Mac } from '../src/addr/mac.ts';
import { createNamespace, NamespaceHandle, removeNamespace } from '../src/linux/namespace.ts';
import { NETLINK_ROUTE } from '../src/linux/netlink/constants.ts';
import { NetlinkSocket } from '../src/linux/netlink/socket.ts';
import { getLink } from '../src/linux/route/link.ts';
import { newVeth } from '../src/linux/route/veth.ts';
import { mount, umount } from '../src/linux/syscall.ts';
import { ROOT } from '../src/plan/state.ts';
import { until } from './until.ts';

/** linux/fs.h */
const MNT_DETACH = 2;

/** The checkout's own folder for what must be on a disk. */
const DISK = new URL('../.cache', import.meta.url).pathname;

/** ms: the kernel takes some 20 s for 10,000 namespaces */
const CLEANUP_TIMEOUT_MS = 120_000;

/** A folder in memory for pins: when it is disposed of, all that is pinned in it is let go at once. */
export class PinFolder implements Disposable {
  readonly path: string;

  constructor(parent: string, name: string) {
    this.path = join(parent, name);
    mkdirSync(this.path, { recursive: true });
    mount('culvert-bench', this.path, 'tmpfs', 0);
  }

  [Symbol.dispose](): void {
    umount(this.path, MNT_DETACH);
  }
}

/** Where a run keeps what it makes. All of it is gone when it is disposed of. */
export class Stage implements Disposable {
  /** in memory */
  readonly folder = mkdtempSync(join(tmpdir(), 'bench-'));
  /** on the checkout's disk, where a commit costs what it costs */
  readonly disk: string;

  constructor() {
    mkdirSync(DISK, { recursive: true });
    this.disk = mkdtempSync(join(DISK, 'bench-'));
  }

  /**
   * Waits until the kernel has removed every namespace that was let go before. It does so in order: a veth into one
   * that is made and let go now is gone after all those.
   */
  async cleanedUp(): Promise<void> {
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    const probe = { link: { name: 'probe', index: 900 }, mac: mac(1), mtu: 1500, up: false, namespace: ROOT };
    const pin = join(this.folder, 'probe');
    createNamespace(pin, () => undefined);
    try {
      using handle = new NamespaceHandle(pin);
      const peer = { ...probe, link: { name: 'probe', index: 2 }, mac: mac(2), namespace: 'probe' };
      socket.request(newVeth(probe, peer, handle.fd));
    } finally {
      removeNamespace(pin);
    }
    await until('the kernel has removed what was let go', CLEANUP_TIMEOUT_MS, () => {
      const [error] = socket.batch([getLink(probe.link)]);
      return error?.errnoName === 'ENODEV';
    });
  }

  /** Removes what would outlive the mount namespace, with whatever is still mounted in it. */
  abandon(): void {
    rmSync(this.disk, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.abandon();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function mac(last: number): Mac {
  return Uint8Array.of(2, 0xcf, 0, 0, 1, last) as Mac;
}
