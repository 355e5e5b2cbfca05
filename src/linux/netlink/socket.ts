import { CulvertError } from '../../errors.ts';
import { bind, close, ioctlLink, recv, recvNow, SyscallError, send, setsockopt, socket } from '../syscall.ts';
import { readAttributes, readString } from './attribute.ts';
import {
  AF_NETLINK,
  MSG_DONTWAIT,
  MSG_TRUNC,
  NETLINK_ADD_MEMBERSHIP,
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  NETLINK_GET_STRICT_CHK,
  NETLINK_ROUTE,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSGERR_ATTR_MSG,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_NETLINK,
  SOL_SOCKET,
} from './constants.ts';
import { type Message, MessageWriter, readMessages } from './message.ts';

/** A dump that another writer keeps interrupting is read again this often, then given up. */
const DUMP_ATTEMPTS = 16;

/** What a transaction may take in one piece: some 300,000 elements. */
const MAX_TRANSACTION_BYTES = 32 * 1024 * 1024;

/**
 * The kernel queues all answers to one send before the first can be read. Each takes about 1 kB of a receive buffer
 * that has 208 kB where nobody may raise it, a description of a link up to 5 kB.
 */
const MESSAGES_PER_SEND = 32;

/** bytes of struct sockaddr_nl: the family, then a port and groups, of which the kernel chooses the one */
const SOCKADDR_NL_LENGTH = 12;

/** What a socket writes and reads with. Making one costs more than opening a socket, so it serves the next one too. */
type Buffers = { readonly writer: MessageWriter; readonly received: Uint8Array };

/** Of sockets that were closed; few, because few are open at a time. */
const spareBuffers: Buffers[] = [];
const MAX_SPARE_BUFFERS = 4;
/** bytes: a writer that a long transaction has made bigger than this is let go */
const MAX_SPARE_CAPACITY = 256 * 1024;

/** One message to come: what it does, in words for an error, and how it is written. */
export type Request = {
  readonly attempt: string;
  readonly type: number;
  readonly flags: number;
  readonly write: (writer: MessageWriter) => void;
};

/** The same request with its body written once: for one that is sent again and again. */
export function written(request: Request): Request {
  const writer = new MessageWriter();
  request.write(writer);
  const { bytes } = writer;
  return { ...request, write: (target) => void target.raw(bytes) };
}

/**
 * A netlink socket in the namespace its thread was in when it was opened; it stays there when the thread goes on.
 * Synchronous: the kernel works through a request inside send(2), so its answers are there when send returns. The kernel
 * chooses its port at the first send.
 */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  readonly #buffers: Buffers = spareBuffers.pop() ?? {
    writer: new MessageWriter(),
    received: new Uint8Array(64 * 1024),
  };
  #sequence = 0;
  #isClosed = false;
  readonly #isRoute: boolean;
  #isStrict = false;
  #hearsReasons = false;

  constructor(protocol: number) {
    this.#isRoute = protocol === NETLINK_ROUTE;
    this.#fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  }

  /**
   * Sends the requests, many in one call. The kernel works through them in order and does not stop at a failure:
   * rtnetlink has no transactions. It tells of each that failed, and of the last one always.
   *
   * @returns for each request its error, or undefined where it was done
   */
  batch(requests: readonly Request[]): (SyscallError | undefined)[] {
    this.#hearReasons();
    return this.#together(requests, () => undefined);
  }

  /**
   * Asks for one object each, as {@link batch} sends.
   *
   * @returns for each request what was read, or its error
   */
  ask<T>(requests: readonly Request[], read: (message: Message) => T): (T | SyscallError | undefined)[] {
    return this.#together(requests, read);
  }

  #together<T>(
    requests: readonly Request[],
    read: (message: Message) => T | undefined,
  ): (T | SyscallError | undefined)[] {
    const results: (T | SyscallError | undefined)[] = [];
    for (let at = 0; at < requests.length; at += MESSAGES_PER_SEND) {
      results.push(...this.#sendTogether(requests.slice(at, at + MESSAGES_PER_SEND), read));
    }
    return results;
  }

  #sendTogether<T>(
    requests: readonly Request[],
    read: (message: Message) => T | undefined,
  ): (T | SyscallError | undefined)[] {
    const first = this.#sequence + 1;
    const last = this.#sequence + requests.length;
    const { writer } = this.#buffers;
    writer.clear();
    for (const request of requests) {
      const sequence = ++this.#sequence;
      writer.begin(request.type, request.flags | NLM_F_REQUEST | (sequence === last ? NLM_F_ACK : 0), sequence);
      request.write(writer);
      writer.end();
    }
    const results = Array.from<T | SyscallError | undefined>({ length: requests.length });
    send(this.#fd, writer.bytes);
    for (let acknowledged = false; !acknowledged; ) {
      for (const message of readMessages(this.#receive())) {
        const index = message.sequence - first;
        const request = requests[index];
        // an answer to an earlier batch that was given up half-way
        if (request === undefined) continue;
        if (message.type !== NLMSG_ERROR) {
          results[index] = read(message);
          continue;
        }
        results[index] = acknowledgement(request.attempt, message) ?? results[index];
        acknowledged = message.sequence === last;
      }
    }
    return results;
  }

  /**
   * Sends all requests in one call between `begin` and `end`, as nfnetlink wants a transaction: all are done or none.
   * A request is acknowledged where it failed, and the last one always, so a long transaction fills no buffer.
   *
   * @throws SyscallError for the first request that failed, or for the whole
   * @throws CulvertError `transaction_too_big` where the socket may not take so much at once
   */
  transaction(begin: Request, requests: readonly Request[], end: Request): void {
    if (requests.length === 0) return;
    this.#hearReasons();
    const first = this.#sequence + 1;
    const last = first + requests.length;
    const { writer } = this.#buffers;
    writer.clear();
    for (const request of [begin, ...requests, end]) {
      const sequence = ++this.#sequence;
      writer.begin(request.type, request.flags | NLM_F_REQUEST | (sequence === last ? NLM_F_ACK : 0), sequence);
      request.write(writer);
      writer.end();
    }
    this.#sendWhole(begin.attempt, writer.bytes);
    let failure: SyscallError | undefined;
    for (let acknowledged = false; !acknowledged; ) {
      const datagram = this.#receiveNow();
      // A refused commit answers `begin` alone; failures that fill the receive buffer push the last answer out.
      if (datagram === undefined && failure !== undefined) break;
      if (datagram === undefined) {
        throw new CulvertError('netlink_unanswered', `Cannot ${begin.attempt}: the kernel did not say whether it did`);
      }
      for (const message of readMessages(datagram)) {
        const index = message.sequence - first;
        if (message.type !== NLMSG_ERROR || index < 0 || index > requests.length) continue;
        failure ??= acknowledgement((requests[index - 1] ?? begin).attempt, message);
        acknowledged = message.sequence === last;
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** Sends one request. @throws SyscallError with the kernel's extended message */
  request(request: Request): void {
    const error = this.batch([request])[0];
    if (error !== undefined) throw error;
  }

  /**
   * Reads a whole table. A dump during which the table changed may be short and is never believed: it is read again.
   *
   * @throws CulvertError `dump_interrupted` when it never came whole
   */
  dump<T>(request: Request, read: (message: Message) => T): T[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const whole = this.#dumpOnce(request, read);
      if (whole !== undefined) return whole;
    }
    throw new CulvertError(
      'dump_interrupted',
      `Cannot ${request.attempt}: interrupted ${DUMP_ATTEMPTS} times in a row by other changes`,
    );
  }

  /** For poll(2); it can be read from when {@link receive} has something. */
  get fd(): number {
    return this.#fd;
  }

  /** Has the kernel tell of what changes from now on. @param group one of RTNLGRP_*; {@link receive} gives what it tells */
  hear(group: number): void {
    const address = new Uint8Array(SOCKADDR_NL_LENGTH);
    new DataView(address.buffer).setUint16(0, AF_NETLINK, true);
    // one without a port is told nothing
    bind(this.#fd, address, 'bind a netlink socket');
    setsockopt(this.#fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
  }

  /**
   * The next datagram that waits, for what the kernel sends unasked; viewed in the receive buffer until the next call.
   *
   * @throws SyscallError ENOBUFS, once, where the queue was full and datagrams were lost
   */
  receive(): Uint8Array | undefined {
    const length = recvNow(this.#fd, this.#buffers.received, MSG_TRUNC | MSG_DONTWAIT);
    return length === undefined ? undefined : this.#received(length);
  }

  /**
   * ioctl(2) for a link of the socket's namespace, as netdevice(7) says.
   *
   * @returns false where there is no such link; `request` has the answer otherwise
   */
  askLink(attempt: string, code: number, request: Uint8Array): boolean {
    return ioctlLink(attempt, this.#fd, code, request);
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    close(this.#fd);
    const isSmall = this.#buffers.writer.capacity <= MAX_SPARE_CAPACITY;
    if (isSmall && spareBuffers.length < MAX_SPARE_BUFFERS) spareBuffers.push(this.#buffers);
  }

  #dumpOnce<T>(request: Request, read: (message: Message) => T): T[] | undefined {
    this.#beStrict();
    const sequence = ++this.#sequence;
    const { writer } = this.#buffers;
    writer.clear();
    writer.begin(request.type, request.flags | NLM_F_REQUEST | NLM_F_DUMP, sequence);
    request.write(writer);
    writer.end();
    send(this.#fd, writer.bytes);
    const items: T[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of readMessages(this.#receive())) {
        if (message.sequence !== sequence) continue;
        interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          const error = acknowledgement(request.attempt, message);
          if (error !== undefined) throw error;
          return interrupted ? undefined : items;
        }
        items.push(read(message));
      }
    }
  }

  /** Has the kernel say in words why it refuses. Set when it is needed: many a socket lives for one question. */
  #hearReasons(): void {
    if (this.#hearsReasons) return;
    for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK]) setsockopt(this.#fd, SOL_NETLINK, option, 1);
    this.#hearsReasons = true;
  }

  /** Has the kernel heed what a dump asks to be limited to, and refuse what it does not know. */
  #beStrict(): void {
    if (this.#isStrict || !this.#isRoute) return;
    setsockopt(this.#fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    this.#isStrict = true;
  }

  /** A message that is sent whole or not at all: where it is too long for the send buffer, that is raised first. */
  #sendWhole(attempt: string, bytes: Uint8Array): void {
    if (bytes.length <= MAX_TRANSACTION_BYTES && this.#trySend(bytes)) return;
    if (bytes.length <= MAX_TRANSACTION_BYTES) {
      this.#raiseSendBuffer(bytes.length);
      if (this.#trySend(bytes)) return;
    }
    throw new CulvertError(
      'transaction_too_big',
      `Cannot ${attempt}: it takes ${bytes.length} bytes at once, more than the socket may send; ` +
        'make it smaller, or raise net.core.wmem_max',
    );
  }

  /** @returns false where the send buffer is too small */
  #trySend(bytes: Uint8Array): boolean {
    try {
      send(this.#fd, bytes);
      return true;
    } catch (error) {
      if (error instanceof SyscallError && error.errnoName === 'EMSGSIZE') return false;
      throw error;
    }
  }

  /** Past net.core.wmem_max only with CAP_NET_ADMIN in the first user namespace; without, as far as that goes. */
  #raiseSendBuffer(bytes: number): void {
    try {
      setsockopt(this.#fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes);
    } catch (error) {
      if (!(error instanceof SyscallError && error.errnoName === 'EPERM')) throw error;
      setsockopt(this.#fd, SOL_SOCKET, SO_SNDBUF, bytes);
    }
  }

  /** The next datagram that is there already; what did not fit into the receive buffer is passed over. */
  #receiveNow(): Uint8Array | undefined {
    for (;;) {
      try {
        return this.receive();
      } catch (error) {
        if (!(error instanceof SyscallError && error.errnoName === 'ENOBUFS')) throw error;
      }
    }
  }

  /** One datagram, viewed in the receive buffer until the next call. */
  #receive(): Uint8Array {
    return this.#received(recv(this.#fd, this.#buffers.received, MSG_TRUNC));
  }

  #received(length: number): Uint8Array {
    const { received } = this.#buffers;
    if (length > received.length) {
      throw new CulvertError(
        'netlink_truncated',
        `Cannot read a netlink datagram of ${length} bytes: the buffer has ${received.length}`,
      );
    }
    return received.subarray(0, length);
  }
}

/** Reads NLMSG_ERROR or NLMSG_DONE: a negative errno, then (NETLINK_CAP_ACK) a bare header, then attributes. */
function acknowledgement(attempt: string, message: Message): SyscallError | undefined {
  const errno = -new DataView(message.body.buffer, message.body.byteOffset, message.body.length).getInt32(0, true);
  if (errno <= 0) return undefined;
  const attributesAt = message.type === NLMSG_ERROR ? 20 : 4;
  const attributes = (message.flags & NLM_F_ACK_TLVS) === 0 ? undefined : readAttributes(message.body, attributesAt);
  const text = attributes?.get(NLMSGERR_ATTR_MSG);
  return new SyscallError(attempt, errno, text === undefined ? undefined : readString(text));
}
