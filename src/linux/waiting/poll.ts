import { poll } from '../syscall.ts';
import { POLLIN } from './constants.ts';

/** bytes of struct pollfd: the descriptor, what is waited for, what came of it */
const POLLFD_LENGTH = 8;
const EVENTS = 4;
const REVENTS = 6;

/**
 * Waits until one of the descriptors has something to read, has failed or has ended: the calling thread stands still.
 *
 * @param timeout_ms how long at the most; not finite for as long as it takes
 * @returns those of them; none where time is up, or a signal came
 */
export function readable(fds: readonly number[], timeout_ms: number): Set<number> {
  const list = new Uint8Array(fds.length * POLLFD_LENGTH);
  const view = new DataView(list.buffer);
  for (const [index, fd] of fds.entries()) {
    view.setInt32(index * POLLFD_LENGTH, fd, true);
    view.setUint16(index * POLLFD_LENGTH + EVENTS, POLLIN, true);
  }
  const timeout = Number.isFinite(timeout_ms) ? Math.min(Math.max(0, Math.ceil(timeout_ms)), 0x7fffffff) : -1;
  if (!poll(list, fds.length, timeout)) return new Set();
  return new Set(fds.filter((_, index) => view.getUint16(index * POLLFD_LENGTH + REVENTS, true) !== 0));
}
