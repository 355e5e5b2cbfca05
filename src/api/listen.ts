import { lstatSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { CulvertError, InputError } from '../errors.ts';

/**
 * Makes `server` listen at `path`, for the user of this process alone. A socket that nobody answers at, such as one
 * that a killed daemon left, is replaced.
 *
 * @throws InputError `socket_taken` where another daemon answers or the path is something else; CulvertError
 *   `socket_failed`
 */
export async function listenUnix(server: Server, path: string): Promise<void> {
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
  // A mode set after bind(2) would come too late for whoever connects in between; Node binds before listen() returns.
  const umask = process.umask(0o177);
  const listening = listen(server, { path });
  process.umask(umask);
  try {
    await listening;
  } catch (cause) {
    const why = String((cause as NodeJS.ErrnoException).code);
    throw new CulvertError('socket_failed', `Cannot listen at ${path}: ${why}`, { cause });
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

async function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(where, resolve);
  await promise;
  server.off('error', reject);
}

async function answers(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once('connect', () => resolve(true));
  socket.once('error', (cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT') resolve(false);
    else reject(new CulvertError('socket_failed', `Cannot try the socket ${path}: ${cause.code}`, { cause }));
  });
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
