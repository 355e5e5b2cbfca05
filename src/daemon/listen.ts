import { fchmodSync, lstatSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { CulvertError, InputError } from '../errors.ts';
import { SOCK_STREAM } from '../linux/inet/constants.ts';
import { SOCK_CLOEXEC } from '../linux/netlink/constants.ts';
import { bind, close, SyscallError, socket } from '../linux/syscall.ts';
import { AF_UNIX, unixAddress } from '../linux/unix.ts';

/**
 * Makes `server` listen at `path`, for the user of this process alone. A socket that nobody answers at, such as one
 * that a killed daemon left, is replaced.
 *
 * @returns what takes the socket's path away, which is done before the server closes
 * @throws InputError `socket_taken` where another daemon answers or the path is something else; CulvertError
 *   `socket_failed`
 */
export async function listenUnix(server: Server, path: string): Promise<Disposable> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined) {
    if (!found.isSocket()) {
      throw new InputError('socket_taken', `Cannot listen at ${path}: there is something that is not a socket`);
    }
    if (await answers(path)) {
      throw new InputError('socket_taken', `Cannot listen at ${path}: another daemon answers there`);
    }
    rmSync(path, { force: true });
  }
  try {
    await listen(server, { fd: boundTo(path) });
  } catch (cause) {
    const why = cause instanceof SyscallError ? cause.errnoName : String((cause as NodeJS.ErrnoException).code);
    throw new CulvertError('socket_failed', `Cannot listen at ${path}: ${why}`, { cause });
  }
  const { ino } = lstatSync(path);
  return {
    [Symbol.dispose]: () => {
      // that of a daemon that came since is not this one's
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
    },
  };
}

/**
 * A socket that only its owner may connect to from the first moment: a mode that is set after bind(2) comes too late, and
 * umask(2) is that of all threads, which make files of their own meanwhile. The kernel gives the file what the socket has
 * (unix_bind of net/unix/af_unix.c).
 *
 * @returns its descriptor @throws SyscallError
 */
function boundTo(path: string): number {
  const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  try {
    fchmodSync(fd, 0o600);
    bind(fd, unixAddress(`${path}\0`), 'bind the socket');
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** @throws InputError `address_taken`, at `api.tcp.listen`, whatever keeps it from listening there */
export async function listenTcp(server: Server, host: string, port: number): Promise<void> {
  try {
    await listen(server, { host, port });
  } catch (cause) {
    const why = String((cause as NodeJS.ErrnoException).code);
    const message = `Cannot listen at ${host}:${port}: ${why}`;
    throw new InputError('address_taken', message, { field: 'api.tcp.listen', cause });
  }
}

async function listen(server: Server, where: { fd: number } | { host: string; port: number }): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(where, resolve);
  await promise;
  server.off('error', reject);
}

async function answers(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const connection = connect(path);
  connection.once('connect', () => resolve(true));
  connection.once('error', (cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT') resolve(false);
    else reject(new CulvertError('socket_failed', `Cannot try the socket ${path}: ${cause.code}`, { cause }));
  });
  try {
    return await promise;
  } finally {
    connection.destroy();
  }
}
