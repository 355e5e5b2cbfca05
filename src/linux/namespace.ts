import { statfsSync, unlinkSync } from 'node:fs';
import { close, mount, open, SyscallError, setns, umount, unshare } from './syscall.ts';

/** linux/sched.h */
const CLONE_NEWNET = 0x40000000;
/** linux/mount.h */
const MS_BIND = 4096;
/** linux/fs.h */
const MNT_DETACH = 2;
/** fcntl.h */
const O_RDONLY_CLOEXEC = 0o2000000;
const O_CREAT_EXCL_CLOEXEC = 0o2000300;

/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673;

const OWN = '/proc/thread-self/ns/net';

/** A descriptor of the calling thread's network namespace; close it with {@link using} or Symbol.dispose. */
export class NamespaceHandle implements Disposable {
  readonly fd: number;
  #isClosed = false;

  /** @param path a pin, or `/proc/PID/ns/net`; the calling thread's own namespace by default */
  constructor(path: string = OWN) {
    this.fd = open(path, O_RDONLY_CLOEXEC);
  }

  /** The one that is pinned at `path`, which holds it from then on; undefined where none is, or not any more. */
  static ofPin(path: string): NamespaceHandle | undefined {
    let handle: NamespaceHandle;
    try {
      handle = new NamespaceHandle(path);
    } catch (error) {
      if (error instanceof SyscallError && error.errnoName === 'ENOENT') return undefined;
      throw error;
    }
    using opened = new DisposableStack();
    opened.use(handle);
    if (!isNamespace(`/proc/self/fd/${handle.fd}`)) return undefined;
    opened.move();
    return handle;
  }

  /**
   * Runs `body` with the calling thread inside; the thread is back outside however `body` ends.
   *
   * @param home of the namespace that the thread is in, from who has one: opening it costs as much as all the rest
   */
  run<T>(body: () => T, home?: NamespaceHandle): T {
    if (home === undefined) {
      using own = new NamespaceHandle();
      return this.run(body, own);
    }
    // who could not come back is not to go
    if (home.#isClosed) throw new Error('Cannot enter a namespace: the handle of the one to come back to is closed');
    this.enter();
    try {
      return body();
    } finally {
      home.enter();
    }
  }

  /** Leaves the calling thread inside: to come back is the caller's. */
  enter(): void {
    setns(this.fd, CLONE_NEWNET);
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    close(this.fd);
  }
}

/** Whether a namespace is pinned at `path`, as far as the calling process's mount namespace shows. */
export function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Makes a network namespace that lives as long as `pin`, a file it is mounted on, and runs `body` inside it.
 *
 * @throws SyscallError EEXIST where the pin exists: another's namespace is never taken over
 */
export function createNamespace<T>(pin: string, body: () => T, home?: NamespaceHandle): T {
  if (home === undefined) {
    using own = new NamespaceHandle();
    return createNamespace(pin, body, own);
  }
  enterNewNamespace(pin, home);
  try {
    return body();
  } catch (error) {
    removeNamespace(pin);
    throw error;
  } finally {
    home.enter();
  }
}

/** As {@link createNamespace}, and leaves the calling thread in it; where it fails the thread is in `home`. */
export function enterNewNamespace(pin: string, home: NamespaceHandle): void {
  close(open(pin, O_CREAT_EXCL_CLOEXEC, 0o600));
  try {
    unshare(CLONE_NEWNET);
    mount(OWN, pin, null, MS_BIND);
  } catch (error) {
    home.enter();
    removeNamespace(pin);
    throw error;
  }
}

/**
 * Lets go of a namespace. Both steps are needed: a copy of the mount may sit in another mount namespace, and only the
 * unlink releases it there.
 */
export function removeNamespace(pin: string): void {
  try {
    umount(pin, MNT_DETACH);
  } catch (error) {
    // EINVAL: not a mount point, so the pin is a bare file left by a crash between open and mount
    if (!(error instanceof Error && error.message.endsWith('EINVAL'))) throw error;
  }
  unlinkSync(pin);
}
