import { InputError } from '../errors.ts';
import { SOCK_CLOEXEC } from './netlink/constants.ts';
import { close, connect, send, socket } from './syscall.ts';
import { AF_UNIX, unixAddress } from './unix.ts';

/** linux/net.h */
export const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
/** bytes of `sun_path`, linux/un.h */
const PATH_MAX = 108;

/** A service manager's socket, sd_notify(3): a datagram to it is a list of `NAME=value`, a line each. */
export class NotifySocket implements Disposable {
  readonly #fd: number;
  readonly #name: string;

  /**
   * @param name as NOTIFY_SOCKET has it: a path, or `@` and a name in the network namespace's abstract ones
   * @throws InputError `notify_socket` for anything else; SyscallError where nobody listens there
   */
  constructor(name: string) {
    const address = notifyAddress(name);
    this.#name = name;
    this.#fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    try {
      connect(this.#fd, address, `reach the service manager at ${name}`);
    } catch (error) {
      close(this.#fd);
      throw error;
    }
  }

  /** @throws SyscallError EAGAIN where the service manager does not keep up; others where it is gone */
  tell(...assignments: readonly string[]): void {
    send(this.#fd, new TextEncoder().encode(assignments.join('\n')), `tell the service manager at ${this.#name}`);
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}

/**
 * Where a service manager listens.
 *
 * @throws InputError `notify_socket`
 */
export function notifyAddress(name: string): Uint8Array {
  const path = name.startsWith('@') ? `\0${name.slice(1)}` : `${name}\0`;
  if (!/^[/@]./.test(name) || Buffer.byteLength(path) > PATH_MAX) {
    const message = `Cannot reach the service manager at NOTIFY_SOCKET=${name}: want a path, or @ and a name, up to ${PATH_MAX} bytes`;
    throw new InputError('notify_socket', message, { field: 'NOTIFY_SOCKET' });
  }
  return unixAddress(path);
}
