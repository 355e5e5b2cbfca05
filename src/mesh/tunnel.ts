import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../errors.ts';
import type { Kernel } from '../linux/apply.ts';
import { NamespaceHandle } from '../linux/namespace.ts';
import { hasLink, linkIndex, readLinkEnd } from '../linux/route/ifreq.ts';
import { deleteLink, setLink, setLinkUp } from '../linux/route/link.ts';
import { moveLink } from '../linux/route/move.ts';
import { newWireguard } from '../linux/route/wireguard.ts';
import { hasSysctl, readSysctl, writeSysctl } from '../linux/sysctl.ts';
import type { WireguardBackend } from '../linux/wireguard/backend.ts';
import { KernelWireguard } from '../linux/wireguard/kernel.ts';
import { ProgramStart } from '../linux/wireguard/program.ts';
import { UserspaceWireguard } from '../linux/wireguard/userspace.ts';
import { type Link, ROOT, ROUTER } from '../plan/state.ts';
import type { Device, SeenDevice } from '../plan/wireguard/device.ts';
import { type Edit, edits, editText } from '../plan/wireguard/edit.ts';

/** Who makes the device: the kernel where it can, else a program. */
export type BackendKind = 'kernel' | 'userspace';

export type Terms = {
  /** whether peers that are not desired go */
  readonly removes: boolean;
  /** Only says what would be done. */
  readonly dryRun?: boolean;
};

export type TunnelParts = {
  readonly kernel: Kernel;
  /** Its name is the same in the root namespace, where it is born. */
  readonly link: Link;
  /** bytes */
  readonly mtu: number;
  readonly backend: BackendKind;
  /** for the program's socket and log */
  readonly folder: string;
};

/**
 * One WireGuard device in the router namespace: its clear side is there, its encrypted packets come and go in the root
 * namespace, where it was born. It outlives this process, and is found again.
 *
 *     root namespace             router namespace
 *     UDP :51820  ◄── encrypted ── wa-main ◄── clear ── routes to the peers' subnets
 */
export class Tunnel implements Disposable {
  readonly #parts: TunnelParts;
  #mtu: number;
  /** absent while its program starts, and where it could not be made anew */
  #device: WireguardBackend | undefined;
  #starting: ProgramStart | undefined;

  /**
   * Takes over the device that is there, or makes one: that of a program is not there at once, see {@link advance}.
   *
   * @throws CulvertError `no_wireguard`, `wireguard_away`; SyscallError
   */
  constructor(parts: TunnelParts) {
    this.#parts = parts;
    this.#mtu = parts.mtu;
    this.#device = this.#find();
    if (this.#device === undefined) this.#make();
  }

  /** Whether it is there, and still is; cheap to ask. */
  get isAlive(): boolean {
    return this.#device?.isAlive === true;
  }

  /** Whether its program is on its way: until it has come there is nothing to read or to edit. */
  get isStarting(): boolean {
    return this.#starting !== undefined;
  }

  /**
   * Goes on with what {@link isStarting}, without waiting for it.
   *
   * @throws CulvertError `no_wireguard`, `wireguard_failed`: then it starts no more; SyscallError
   */
  advance(): void {
    try {
      if (this.#starting?.isDone() !== true) return;
      this.#device = this.#openMoved();
      this.#raise({ dryRun: false });
    } catch (error) {
      this.#letGo();
      throw error;
    }
    this.#starting[Symbol.dispose]();
    this.#starting = undefined;
  }

  /** @throws CulvertError `wireguard_away`, `wireguard_slow`, `dump_interrupted` */
  read(): SeenDevice {
    return this.#there().read();
  }

  edit(said: readonly Edit[]): void {
    if (said.length > 0) this.#there().edit(said);
  }

  /**
   * Brings link and device to what they should be. Where they are, nothing is written.
   *
   * @param nowMs since the epoch
   * @returns what was put right, in the words of ip(8) and wg(8)
   */
  bringTo(desired: Device, nowMs: number, { removes, dryRun = false }: Terms): string[] {
    const said = edits(this.read(), desired, nowMs).filter(({ verb }) => removes || verb !== 'remove');
    if (!dryRun) this.edit(said);
    return [...this.#raise({ dryRun }), ...said.map((edit) => editText(this.#parts.link.name, edit))];
  }

  /**
   * Has its link take packets of this size.
   *
   * @param mtu bytes
   * @throws SyscallError; then {@link bringTo} does it
   */
  resize(mtu: number): void {
    this.#mtu = mtu;
    if (this.isAlive) this.#raise({ dryRun: false });
  }

  /** Makes it anew where it has died: it has nothing then, and that of a program is not there at once. */
  revive(): void {
    this.#letGo();
    clear(this.#parts);
    this.#make();
  }

  /** Takes away what there is of one, and the program that made it; nothing of it need be there. */
  static remove(parts: Pick<TunnelParts, 'kernel' | 'link' | 'folder'>): void {
    clear(parts);
  }

  /** Lets go of it; it stays. */
  [Symbol.dispose](): void {
    this.#letGo();
  }

  #letGo(): void {
    this.#device?.[Symbol.dispose]();
    this.#starting?.[Symbol.dispose]();
    this.#device = undefined;
    this.#starting = undefined;
  }

  #there(): WireguardBackend {
    if (this.#device !== undefined) return this.#device;
    const why = this.isStarting ? 'its program has yet to start' : 'it could not be made';
    throw new CulvertError('wireguard_away', `Cannot talk to the WireGuard ${this.#parts.link.name}: ${why}`);
  }

  #find(): WireguardBackend | undefined {
    const { kernel, link } = this.#parts;
    let device: WireguardBackend | undefined;
    try {
      device = this.#open();
      device.read();
      const isThere = kernel.withSocket(ROUTER, (socket) => hasLink(socket, link.index)) || this.#move();
      if (isThere) return device;
      device[Symbol.dispose]();
    } catch (error) {
      device?.[Symbol.dispose]();
      if (!(error instanceof CulvertError && error.code === 'wireguard_away')) throw error;
    }
    // half of one helps nobody
    clear(this.#parts);
    return undefined;
  }

  #make(): void {
    const { backend, folder, link } = this.#parts;
    if (backend === 'userspace') {
      this.#starting = new ProgramStart(folder, link.name);
      return;
    }
    this.#device = this.#makeOfKernel();
    this.#raise({ dryRun: false });
  }

  /** In the router, where the program has made it in the root namespace. */
  #openMoved(): WireguardBackend {
    const { link } = this.#parts;
    const device = this.#open();
    try {
      if (this.#move()) return device;
    } catch (error) {
      device[Symbol.dispose]();
      throw error;
    }
    device[Symbol.dispose]();
    throw new CulvertError('wireguard_failed', `Cannot use ${link.name}: its link is not there`);
  }

  #makeOfKernel(): WireguardBackend {
    const { kernel, link } = this.#parts;
    const mtu = this.#mtu;
    using router = new NamespaceHandle(kernel.pin(ROUTER));
    kernel.withSocket(ROOT, (socket) => socket.request(newWireguard(link, mtu, router.fd)));
    return this.#open();
  }

  #open(): WireguardBackend {
    const { kernel, link, backend, folder } = this.#parts;
    if (backend === 'userspace') return new UserspaceWireguard(folder, link.name);
    return kernel.inside(ROUTER, () => new KernelWireguard(link.name));
  }

  /** From the root namespace, where the program makes it; false where it is not there. */
  #move(): boolean {
    const { kernel, link } = this.#parts;
    using router = new NamespaceHandle(kernel.pin(ROUTER));
    return kernel.withSocket(ROOT, (socket) => {
      const index = linkIndex(socket, link.name);
      if (index === undefined) return false;
      socket.request(moveLink({ name: link.name, index }, link.index, router.fd));
      return true;
    });
  }

  /** Sets what of the link is not as it should be, and says what that was. */
  #raise({ dryRun }: { readonly dryRun: boolean }): string[] {
    const { kernel, link } = this.#parts;
    const mtu = this.#mtu;
    const filter = `net/ipv4/conf/${link.name}/rp_filter`;
    return kernel.withSocket(ROUTER, (socket) => {
      const end = readLinkEnd(socket, ROUTER, link.index);
      const done: string[] = [];
      // The source is bound to the peer already; while hosts switch one after the other, answers come another way.
      kernel.inside(ROUTER, () => {
        if (hasSysctl(filter) && readSysctl(filter) === '0') return;
        if (!dryRun) writeSysctl(filter, '0');
        done.push(`sysctl -w ${filter}=0`);
      });
      if (end === undefined) return done;
      if (end.mtu !== mtu) {
        if (!dryRun) socket.request(setLink({ ...end, mtu }, end));
        done.push(`ip -n ${ROUTER} link set ${link.name} mtu ${mtu}`);
      }
      if (!end.up) {
        if (!dryRun) socket.request(setLinkUp(link, true));
        done.push(`ip -n ${ROUTER} link set ${link.name} up`);
      }
      return done;
    });
  }
}

/** Whatever is left of a device anywhere. A program ends when its link does. */
function clear({ kernel, link, folder }: Pick<TunnelParts, 'kernel' | 'link' | 'folder'>): void {
  if (kernel.exists(ROUTER)) kernel.deleteLinks(ROUTER, [link]);
  kernel.withSocket(ROOT, (socket) => {
    const index = linkIndex(socket, link.name);
    if (index !== undefined) socket.request(deleteLink({ name: link.name, index }));
  });
  rmSync(join(folder, `${link.name}.sock`), { force: true });
}
