import { CulvertError } from '../../errors.ts';
import { errnoName } from '../errno.ts';
import { SOCK_STREAM } from '../inet/constants.ts';
import { MSG_DONTWAIT, SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD, SOCK_CLOEXEC, SOL_SOCKET } from '../netlink/constants.ts';
import { close, connect, open, recv, recvNow, SyscallError, send, setsockoptBytes, socket } from '../syscall.ts';
import { AF_UNIX, unixAddress } from '../unix.ts';

/** fcntl.h */
const O_PATH_CLOEXEC = 0o12000000;

/** Everything else waits meanwhile. */
const TIMEOUT_S = 2;
/** of one call */
const INTERRUPTIONS_MAX = 100;
/** bytes of the longest answer: that of some hundred thousand peers */
const ANSWER_MAX = 64 * 1024 * 1024;
/** bytes that there is room for at first; it grows with what is answered */
const ROOM = 64 * 1024;

/**
 * A connection to a WireGuard in user space, that is asked one thing after the other and answers at once. It ends when
 * the program does.
 */
export class UapiSocket implements Disposable {
  readonly #fd: number;
  readonly #path: string;
  #isClosed = false;
  /** Kept: an answer comes in hundreds of pieces, and memory that is new has to be zeroed first. */
  #room = Buffer.allocUnsafeSlow(ROOM);

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
   * The lines of the answer, without `errno`, viewed in a buffer until the next question. What was refused was the last
   * that it was asked: the rest of it is taken for a question that makes no sense, and ends the connection.
   *
   * @param hear is given what has come of it so far, as it comes: reading takes the time in which the rest is made
   * @throws CulvertError `wireguard_away`; `wireguard_refused`, and `wireguard_slow`, or what `hear` throws: the rest of
   *   the answer would be taken for that of the next question, so there must be none
   */
  ask(attempt: string, text: string, hear: (soFar: Buffer) => void = () => undefined): Buffer {
    this.#try(() => this.#send(new TextEncoder().encode(text)));
    const answer = this.#receive(hear);
    const at = answer.lastIndexOf('errno=');
    const errno = Number(/^errno=(-?\d+)\n\n$/.exec(answer.toString('latin1', Math.max(at, 0)))?.[1] ?? Number.NaN);
    if (errno === 0) return answer.subarray(0, at);
    throw new CulvertError(
      'wireguard_refused',
      `Cannot ${attempt}: the WireGuard at ${this.#path} said ${errnoName(Math.abs(errno))}`,
    );
  }

  /** Asks, and waits for no answer: nothing else may be asked after that. @throws CulvertError `wireguard_away` */
  say(text: string): void {
    try {
      this.#send(new TextEncoder().encode(text));
    } catch (error) {
      throw this.#away(error);
    }
  }

  /** Whether an answer to what was said has come. @throws CulvertError `wireguard_away` where none will */
  hasSaid(): boolean {
    try {
      const received = recvNow(this.#fd, new Uint8Array(1), MSG_DONTWAIT);
      if (received === 0) throw new Error('it has ended');
      return received !== undefined;
    } catch (error) {
      throw this.#away(error);
    }
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

  /** An answer ends with a line that is empty. */
  #receive(hear: (soFar: Buffer) => void): Buffer {
    for (let length = 0; ; ) {
      const received = this.#try(() => uninterrupted(() => recv(this.#fd, this.#room.subarray(length), 0)));
      if (received === 0) throw this.#away(new Error('it has ended'));
      length += received;
      if (length > ANSWER_MAX) throw this.#away(new Error('its answer has no end'));
      const soFar = this.#room.subarray(0, length);
      if (soFar[length - 1] === NEWLINE && soFar[length - 2] === NEWLINE) return soFar;
      hear(soFar);
      if (length === this.#room.length) this.#room = Buffer.concat([this.#room], length * 2);
    }
  }

  #try<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      throw this.#away(error);
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

const NEWLINE = 10;

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

function connected(folder: string, name: string): number {
  const at = open(folder, O_PATH_CLOEXEC);
  try {
    const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    try {
      const seconds = new Uint8Array(new BigInt64Array([BigInt(TIMEOUT_S), 0n]).buffer);
      for (const option of [SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD]) setsockoptBytes(fd, SOL_SOCKET, option, seconds);
      // a path may be longer than an address holds
      connect(fd, unixAddress(`/proc/self/fd/${at}/${name}\0`), 'connect');
      return fd;
    } catch (error) {
      close(fd);
      throw error;
    }
  } finally {
    close(at);
  }
}
