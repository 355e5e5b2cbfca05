import { CulvertError } from '../../errors.ts';
import type { Link } from '../../plan/state.ts';
import type { SeenDevice } from '../../plan/wireguard/device.ts';
import type { Edit } from '../../plan/wireguard/edit.ts';
import { NETLINK_GENERIC } from '../netlink/constants.ts';
import { familyId } from '../netlink/genetlink.ts';
import { NetlinkSocket } from '../netlink/socket.ts';
import { hasLink, linkIndex } from '../route/ifreq.ts';
import { SyscallError } from '../syscall.ts';
import type { WireguardBackend } from './backend.ts';
import { getDevice, joinParts, readDevicePart } from './get-device.ts';
import { portionsOf } from './portion.ts';
import { setDevice } from './set-device.ts';

/** A device of the kernel's own. Another link that later takes its name is not taken for it. */
export class KernelWireguard implements WireguardBackend {
  readonly #link: Link;
  readonly #socket: NetlinkSocket;
  readonly #family: number;
  /** whether the link is one of WireGuard's, as far as is known */
  #isWireguard = true;

  /**
   * @param name of a link in the calling thread's namespace
   * @throws CulvertError `no_wireguard` where the kernel has none; `wireguard_away` where there is no such link
   */
  constructor(name: string) {
    this.#socket = new NetlinkSocket(NETLINK_GENERIC);
    try {
      this.#family = wireguardFamily(this.#socket);
      const index = linkIndex(this.#socket, name);
      if (index === undefined) {
        throw new CulvertError('wireguard_away', `Cannot talk to the WireGuard ${name}: there is no such link`);
      }
      this.#link = { name, index };
    } catch (error) {
      this.#socket[Symbol.dispose]();
      throw error;
    }
  }

  get isAlive(): boolean {
    return this.#isWireguard && hasLink(this.#socket, this.#link.index);
  }

  read(): SeenDevice {
    const request = getDevice(this.#family, this.#link);
    try {
      return joinParts(this.#there(() => this.#socket.dump(request, ({ body }) => readDevicePart(body))));
    } catch (error) {
      if (!(error instanceof SyscallError && error.errnoName === 'EOPNOTSUPP')) throw error;
      this.#isWireguard = false;
      const message = `Cannot talk to the WireGuard ${this.#link.name}: its link is another program’s`;
      throw new CulvertError('wireguard_away', message, { cause: error });
    }
  }

  edit(edits: readonly Edit[]): void {
    for (const portion of portionsOf(edits)) {
      // one by one: a socket may not send several of the longest at once, and what comes after a refused one is void
      this.#there(() => this.#socket.request(setDevice(this.#family, this.#link, portion)));
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #there<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      if (!(error instanceof SyscallError && error.errnoName === 'ENODEV')) throw error;
      const message = `Cannot talk to the WireGuard ${this.#link.name}: its link is gone`;
      throw new CulvertError('wireguard_away', message, { cause: error });
    }
  }
}

function wireguardFamily(socket: NetlinkSocket): number {
  const family = familyId(socket, 'wireguard');
  if (family !== undefined) return family;
  throw new CulvertError('no_wireguard', 'Cannot use WireGuard: this kernel has none; load the wireguard module');
}

/** Whether this kernel makes WireGuard devices; a module for them is loaded where there is one. */
export function hasKernelWireguard(): boolean {
  using socket = new NetlinkSocket(NETLINK_GENERIC);
  return familyId(socket, 'wireguard') !== undefined;
}
