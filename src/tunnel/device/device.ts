import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { CulvertError } from '../../errors.ts';
import type { Kernel } from '../../linux/apply.ts';
import { NamespaceHandle } from '../../linux/namespace.ts';
import { NETLINK_ROUTE } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { findLinkNamed, type SeenLink } from '../../linux/observe/links.ts';
import { isRunning, type ProcessId } from '../../linux/process.ts';
import { linkIndex } from '../../linux/route/ifreq.ts';
import { deleteLink, setAlias, setLink, setLinkUp } from '../../linux/route/link.ts';
import { makeMarkedLink } from '../../linux/route/marked-link.ts';
import { moveLink } from '../../linux/route/move.ts';
import { SyscallError } from '../../linux/syscall.ts';
import type { WireguardBackend } from '../../linux/wireguard/backend.ts';
import { KernelWireguard } from '../../linux/wireguard/kernel.ts';
import { ProgramStart } from '../../linux/wireguard/program.ts';
import { UapiSocket } from '../../linux/wireguard/uapi-socket.ts';
import { UserspaceWireguard } from '../../linux/wireguard/userspace.ts';
import { type Link, type NamespaceName, ROOT } from '../../plan/state.ts';
import type { Device, SeenDevice } from '../../plan/wireguard/device.ts';
import { type Edit, edits, editText } from '../../plan/wireguard/edit.ts';
import { onExit } from '../owner/exits.ts';
import { type Mark, markText } from '../owner/mark.ts';
import { makersOf } from '../owner/processes.ts';

export type BackendKind = 'kernel' | 'userspace';

export type DeviceParts = {
  readonly kernel: Kernel;
  readonly name: string;
  /** for a program's socket and log */
  readonly folder: string;
  /** where its link is; its encrypted packets come and go in the root namespace, where it is born, all the same */
  readonly at: NamespaceName;
};

/** How often it is asked whether a program has started, or ended. */
const LOOK_MS = 5;
/** How long one may take to end when its link is gone. */
const END_MS = 5000;
const IDLE = new Int32Array(new SharedArrayBuffer(4));

/** The WireGuard device of a tunnel, and its link. It outlives this process. */
export class TunnelDevice implements Disposable {
  readonly link: Link;
  readonly kind: BackendKind;
  readonly #parts: DeviceParts;
  readonly #backend: WireguardBackend;
  /** of NETLINK_ROUTE, where a link of the kernel's is that nobody may find there any more; a program's goes with that */
  readonly #inside: NetlinkSocket | undefined;

  private constructor(
    parts: DeviceParts,
    link: Link,
    kind: BackendKind,
    { backend, inside }: { readonly backend: WireguardBackend; readonly inside?: NetlinkSocket },
  ) {
    this.#parts = parts;
    this.link = link;
    this.kind = kind;
    this.#backend = backend;
    this.#inside = inside;
  }

  /** The one that is there. @throws CulvertError `wireguard_away` where it cannot be talked to */
  static open(parts: DeviceParts, link: Link, kind: BackendKind): TunnelDevice {
    const { kernel, name, folder, at } = parts;
    if (kind === 'userspace')
      return new TunnelDevice(parts, link, kind, { backend: new UserspaceWireguard(folder, name) });
    using opened = new DisposableStack();
    const all = kernel.inside(at, () => ({
      backend: opened.use(new KernelWireguard(name)),
      ...(at === ROOT ? {} : { inside: opened.use(new NetlinkSocket(NETLINK_ROUTE)) }),
    }));
    opened.move();
    return new TunnelDevice(parts, link, kind, all);
  }

  /**
   * Makes one that says whose it is.
   *
   * @throws CulvertError `no_wireguard`, `wireguard_failed`, `link_gone`; SyscallError EEXIST
   */
  static async make(parts: DeviceParts, kind: BackendKind, mark: Mark): Promise<TunnelDevice> {
    const { kernel, name } = parts;
    const alias = markText(mark);
    if (kind === 'kernel') {
      const link = kernel.withSocket(ROOT, (socket) => makeMarkedLink(socket, { kind: 'wireguard', name, alias }));
      return TunnelDevice.#openMoved(parts, link, kind);
    }
    using start = new ProgramStart(parts.folder, name);
    // one that goes on when this process has ended would make a link that says of nobody that it is theirs
    const settle = onExit(() => start[Symbol.dispose]());
    try {
      // oxlint-disable-next-line no-await-in-loop -- asked again and again; it has a limit of its own
      while (!start.isDone()) await pause(LOOK_MS);
    } finally {
      settle();
    }
    const index = kernel.withSocket(ROOT, (socket) => linkIndex(socket, name));
    if (index === undefined) throw new CulvertError('link_gone', `Cannot use ${name}: somebody has deleted its link`);
    const link = { name, index };
    try {
      kernel.withSocket(ROOT, (socket) => socket.request(setAlias(link, alias)));
    } catch (error) {
      removeLink(kernel, ROOT, link);
      throw error;
    }
    return TunnelDevice.#openMoved(parts, link, kind);
  }

  /** Of one that was born in the root namespace, where it is to be. */
  static #openMoved(parts: DeviceParts, born: Link, kind: BackendKind): TunnelDevice {
    let link = born;
    try {
      link = moved(parts, born);
      return TunnelDevice.open(parts, link, kind);
    } catch (error) {
      removeLink(parts.kernel, ROOT, born);
      removeDevice(parts, link === born ? undefined : link);
      throw error;
    }
  }

  /** Whether it is there, and still is; cheap to ask. */
  get isAlive(): boolean {
    return this.#backend.isAlive;
  }

  /** Says whose it is from now on. */
  mark(mark: Mark): void {
    const { kernel, at } = this.#parts;
    kernel.withSocket(at, (socket) => socket.request(setAlias(this.link, markText(mark))));
  }

  /** @throws CulvertError `wireguard_away`, `wireguard_slow`, `dump_interrupted` */
  read(): SeenDevice {
    return this.#backend.read();
  }

  /** What would have to be said to it. @param nowMs since the epoch */
  difference(desired: Device, nowMs: number): Edit[] {
    return edits(this.read(), desired, nowMs);
  }

  edit(said: readonly Edit[]): void {
    if (said.length > 0) this.#backend.edit(said);
  }

  /** Brings it to what it should be. @returns what was put right, in the words of wg(8) */
  bringTo(desired: Device, nowMs: number): string[] {
    const said = this.difference(desired, nowMs);
    this.edit(said);
    return said.map((edit) => editText(this.link.name, edit));
  }

  /** undefined where it is gone */
  get seen(): SeenLink | undefined {
    const { kernel, at } = this.#parts;
    return kernel.withSocket(at, (socket) => findLinkNamed(socket, at, this.link.name));
  }

  /** Has its link up, with this size. @param mtu bytes @throws CulvertError `link_gone` */
  raise(mtu: number): void {
    const end = this.seen?.end;
    if (end === undefined) {
      throw new CulvertError('link_gone', `Cannot use ${this.link.name}: somebody has deleted its link`);
    }
    const { kernel, at } = this.#parts;
    kernel.withSocket(at, (socket) => {
      if (end.mtu !== mtu) socket.request(setLink({ ...end, mtu }, end));
      if (!end.up) socket.request(setLinkUp(this.link, true));
    });
  }

  /**
   * Takes a link of the kernel's away that is in another namespace than the root, of which there may be no pin any more
   * though somebody is in it. @throws SyscallError
   */
  removeInside(): void {
    const inside = this.#inside;
    if (inside !== undefined) deleteIfThere(this.link, (body) => body(inside));
  }

  /** Lets go of it; it stays. */
  [Symbol.dispose](): void {
    this.#backend[Symbol.dispose]();
    this.#inside?.[Symbol.dispose]();
  }
}

/**
 * Deletes a link, who made it, and the socket of that. A program ends by itself when its link or its socket goes; then it
 * takes its socket away, and would take that of the next one: so its end is waited for, and one that hangs is killed.
 *
 * In a namespace the link may not be where it should be: somebody is in that still though its pin is gone, or who is root
 * in it has moved the link away, and put another in its place. It goes with the program, whose socket is taken away too.
 */
export function removeDevice({ kernel, folder, name, at }: DeviceParts, link: Link | undefined): void {
  const socket = join(folder, `${name}.sock`);
  using program = programAt(folder, name);
  if (link !== undefined) removeLink(kernel, at, link);
  if (link === undefined || at !== ROOT) rmSync(socket, { force: true });
  if (program !== undefined && !waits(() => !program.isOpen)) {
    for (const maker of makersOf(folder, name)) {
      kill(maker);
      waits(() => !isRunning(maker));
    }
  }
  rmSync(socket, { force: true });
}

function kill({ pid }: ProcessId): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // it has just ended
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Whether it came to be in the time that a program has to end. */
function waits(isDone: () => boolean): boolean {
  for (const deadline = performance.now() + END_MS; !isDone(); ) {
    if (performance.now() > deadline) return false;
    Atomics.wait(IDLE, 0, 0, LOOK_MS);
  }
  return true;
}

/** Takes a link to where it is to be. @returns it as it is there */
function moved({ kernel, name, at }: DeviceParts, link: Link): Link {
  if (at === ROOT) return link;
  using inside = new NamespaceHandle(kernel.pin(at));
  kernel.withSocket(ROOT, (socket) => socket.request(moveLink(link, undefined, inside.fd)));
  const index = kernel.withSocket(at, (socket) => linkIndex(socket, name));
  if (index === undefined) throw new CulvertError('link_gone', `Cannot use ${name}: somebody has deleted its link`);
  return { name, index };
}

/** What is gone, or was in a namespace that is gone, is as good as removed. */
function removeLink(kernel: Kernel, at: NamespaceName, link: Link): void {
  deleteIfThere(link, (body) => kernel.withSocketIfThere(at, body));
}

function deleteIfThere(link: Link, withSocket: (body: (socket: NetlinkSocket) => void) => void): void {
  try {
    withSocket((socket) => socket.request(deleteLink(link)));
  } catch (error) {
    if (!(error instanceof SyscallError && error.errnoName === 'ENODEV')) throw error;
  }
}

/** A connection to a program, which ends when that does; undefined where nobody listens. */
function programAt(
  folder: string,
  name: string,
): { readonly isOpen: boolean; [Symbol.dispose]: () => void } | undefined {
  try {
    return new UapiSocket(folder, `${name}.sock`);
  } catch (error) {
    if (!(error instanceof CulvertError)) throw error;
    if (error.code === 'wireguard_away') return undefined;
    // it takes no connection, but it is there
    return { isOpen: true, [Symbol.dispose]: () => undefined };
  }
}
