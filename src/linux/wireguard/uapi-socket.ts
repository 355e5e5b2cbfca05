import { CulvertError } from '../../errors.ts';
import { errnoName } from '../errno.ts';
import { MSG_DONTWAIT, SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD, SOCK_CLOEXEC, SOL_SOCKET } from '../netlink/constants.ts';
import { AF_UNIX } from '../notify-socket.ts';
import { close, connect, open, recv, recvNow, SyscallError, send, setsockoptBytes, socket } from '../syscall.ts';

/** linux/net.h */
const SOCK_STREAM = 1;
/** fcntl.h */
const O_PATH_CLOEXEC = 0o12000000;

/** Everything else waits meanwhile. */
const TIMEOUT_S = 2;
/** of one call */
const INTERRUPTIONS_MAX = 100;
/** bytes of the longest answer: that of some hundred thousand peers */
const ANSWER_MAX = 64 * 1024 * 1024;

/**
 * A connection to a WireGuard in user space, that is asked one thing after the other and answers at once. It ends when
 * the program does.
 */
export class UapiSocket implements Disposable {
  readonly #fd: number;
  readonly #path: string;
  #isClosed = false;

  /**
   * @param folder of the socket, however long its path
   * @throws CulvertError `wireguard_away` where nobody listens
   */
  constructor(folder: string, name: string) {
    this.#path = `${folder}/${name}`;
    try {
      this.#fd = connected(folder, name);
    } catch (error) {
      throw this.#away(error);
    }
  }

  /**
   * The lines of the answer, without `errno`. What was refused was the last that it was asked: the rest of it is taken
   * for a question that makes no sense, and ends the connection.
   *
   * @throws CulvertError `wireguard_away`; `wireguard_refused`, and `wireguard_slow`: a late answer would be taken for that
   *   of the next question, so there must be none
   */
  ask(attempt: string, text: string): string {
    const chunks: Uint8Array[] = [];
    try {
      this.#send(new TextEncoder().encode(text));
      for (let length = 0; !isEnd(chunks); ) {
        const buffer = new Uint8Array(256 * 1024);
        const received = uninterrupted(() => recv(this.#fd, buffer, 0));
        length += received;
        if (received === 0 || length > ANSWER_MAX)
          throw new Error(received === 0 ? 'it has ended' : 'its answer has no end');
        chunks.push(buffer.subarray(0, received));
      }
    } catch (error) {
      throw this.#away(error);
    }
    const answer = Buffer.concat(chunks).toString('latin1');
    const at = answer.lastIndexOf('errno=');
    const errno = Number(/^errno=(-?\d+)\n\n$/.exec(answer.slice(at))?.[1] ?? Number.NaN);
    if (errno === 0) return answer.slice(0, at);
    throw new CulvertError(
      'wireguard_refused',
      `Cannot ${attempt}: the WireGuard at ${this.#path} said ${errnoName(Math.abs(errno))}`,
    );
  }

  /** Whether the program is still there; cheap to ask. */
  get isOpen(): boolean {
    if (this.#isClosed) return false;
    try {
      // nobody sends unasked: what can be read is the end
      return recvNow(this.#fd, new Uint8Array(1), MSG_DONTWAIT) === undefined;
    } catch (error) {
      if (error instanceof SyscallError) return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    close(this.#fd);
  }

  /** As far as it listens: one that refuses a line reads no more of them, and its answer is there. */
  #send(bytes: Uint8Array): void {
    try {
      for (let sent = 0; sent < bytes.length; ) sent += uninterrupted(() => send(this.#fd, bytes.subarray(sent)));
    } catch (error) {
      if (!(error instanceof SyscallError && ['EPIPE', 'ECONNRESET'].includes(error.errnoName))) throw error;
    }
  }

  #away(error: unknown): CulvertError {
    // one that is slow is there, and must not be taken for dead
    const isSlow = error instanceof SyscallError && error.errnoName === 'EAGAIN';
    const reason = error instanceof Error && !isSlow ? error.message : `no answer in ${TIMEOUT_S} s`;
    const message = `Cannot talk to the WireGuard at ${this.#path}: ${reason}`;
    return new CulvertError(isSlow ? 'wireguard_slow' : 'wireguard_away', message, { cause: error });
  }
}

/** signal(7): a socket that waits for a time only does not go on by itself after a signal, such as that of a child's end. */
function uninterrupted<T>(call: () => T): T {
  for (let left = INTERRUPTIONS_MAX; ; left--) {
    try {
      return call();
    } catch (error) {
      if (left === 0 || !(error instanceof SyscallError && error.errnoName === 'EINTR')) throw error;
    }
  }
}

function isEnd(chunks: readonly Uint8Array[]): boolean {
  const last = chunks.at(-1);
  if (last === undefined) return false;
  // a line that is empty ends it, and may come in two pieces
  const end = last.length > 1 ? last.subarray(-2) : Buffer.concat(chunks.slice(-2)).subarray(-2);
  return end.length === 2 && end[0] === 10 && end[1] === 10;
}

function connected(folder: string, name: string): number {
  const at = open(folder, O_PATH_CLOEXEC);
  try {
    const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    try {
      const seconds = new Uint8Array(new BigInt64Array([BigInt(TIMEOUT_S), 0n]).buffer);
      for (const option of [SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD]) setsockoptBytes(fd, SOL_SOCKET, option, seconds);
      // a path may be longer than an address holds
      connect(fd, unixPath(`/proc/self/fd/${at}/${name}`), 'connect');
      return fd;
    } catch (error) {
      close(fd);
      throw error;
    }
  } finally {
    close(at);
  }
}

/** struct sockaddr_un, linux/un.h */
function unixPath(path: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(AF_UNIX, 0), Buffer.from(`${path}\0`)]);
}
