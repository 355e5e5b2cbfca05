import koffi from 'koffi';
import { CulvertError } from '../errors.ts';
import { errnoName } from './errno.ts';
import { __NR_pidfd_open } from './waiting/constants.ts';

/*
 * The only file that knows FFI: thin, synchronous calls into libc. Everything here acts on the calling thread, which
 * is what makes setns(2) usable: a thread that enters a namespace does so alone.
 */

/** asm-generic/errno-base.h */
const ESRCH = 3;
const EINTR = 4;
const EAGAIN = 11;
const ENODEV = 19;
const EINVAL = 22;
/** fcntl.h: EFD_CLOEXEC of sys/eventfd.h is the same */
const O_CLOEXEC = 0o2000000;

const libc = koffi.load('libc.so.6');

const c = {
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  bind: libc.func('int bind(int fd, const uint8_t *addr, uint32_t len)'),
  listen: libc.func('int listen(int fd, int backlog)'),
  connect: libc.func('int connect(int fd, const uint8_t *addr, uint32_t len)'),
  send: libc.func('int64_t send(int fd, const uint8_t *buf, uint64_t len, int flags)'),
  sendto: libc.func(
    'int64_t sendto(int fd, const uint8_t *buf, uint64_t len, int flags, const uint8_t *addr, uint32_t addrlen)',
  ),
  recv: libc.func('int64_t recv(int fd, _Out_ uint8_t *buf, uint64_t len, int flags)'),
  setsockopt: libc.func('int setsockopt(int fd, int level, int name, const int *value, uint32_t len)'),
  getsockopt: libc.func('int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *len)'),
  open: libc.func('int open(const char *path, int flags, uint32_t mode)'),
  close: libc.func('int close(int fd)'),
  unshare: libc.func('int unshare(int flags)'),
  setns: libc.func('int setns(int fd, int nstype)'),
  mount: libc.func(
    'int mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data)',
  ),
  umount2: libc.func('int umount2(const char *target, int flags)'),
  flock: libc.func('int flock(int fd, int operation)'),
  ioctl: libc.func('int ioctl(int fd, uint64_t request, uint8_t *arg)'),
  schedGetcpu: libc.func('int sched_getcpu()'),
  schedGetaffinity: libc.func('int sched_getaffinity(int pid, uint64_t size, _Out_ uint8_t *mask)'),
  schedSetaffinity: libc.func('int sched_setaffinity(int pid, uint64_t size, const uint8_t *mask)'),
  eventfd: libc.func('int eventfd(uint32_t initval, int flags)'),
  poll: libc.func('int poll(_Inout_ uint8_t *fds, uint64_t count, int timeout)'),
  // in the C library by a name of its own since 2.36 only
  pidfdOpen: libc.func('int64_t syscall(int64_t number, int64_t pid, int64_t flags)'),
};

/** A system call that the kernel refused. `errno` is positive; `errnoName` is as in errno.h. */
export class SyscallError extends CulvertError {
  override readonly name = 'SyscallError';
  readonly errno: number;
  readonly errnoName: string;

  constructor(attempt: string, errno: number, extended?: string) {
    const detail = extended === undefined || extended === '' ? '' : ` (${extended})`;
    super('kernel_refused', `Cannot ${attempt}: ${errnoName(errno)}${detail}`);
    this.errno = errno;
    this.errnoName = errnoName(errno);
  }
}

function checked(attempt: string, result: number): number {
  if (result < 0) throw new SyscallError(attempt, koffi.errno());
  return result;
}

export function socket(domain: number, type: number, protocol: number): number {
  return checked(`open a socket of family ${domain}`, Number(c.socket(domain, type, protocol)));
}

export function bind(fd: number, address: Uint8Array, attempt = 'bind a socket'): void {
  checked(attempt, Number(c.bind(fd, address, address.length)));
}

export function listen(fd: number, backlog: number, attempt: string): void {
  checked(attempt, Number(c.listen(fd, backlog)));
}

export function connect(fd: number, address: Uint8Array, attempt: string): void {
  checked(attempt, Number(c.connect(fd, address, address.length)));
}

export function send(fd: number, bytes: Uint8Array, attempt = `send ${bytes.length} bytes`): number {
  return checked(attempt, Number(c.send(fd, bytes, bytes.length, 0)));
}

/** {@link send} from a socket that is connected to nobody. */
export function sendTo(fd: number, bytes: Uint8Array, address: Uint8Array): number {
  const sent = c.sendto(fd, bytes, bytes.length, 0, address, address.length);
  return checked(`send ${bytes.length} bytes`, Number(sent));
}

/** Returns how many bytes were written to `buffer`; with MSG_TRUNC in `flags`, how many there were. */
export function recv(fd: number, buffer: Uint8Array, flags: number): number {
  return checked('receive from a socket', Number(c.recv(fd, buffer, buffer.length, flags)));
}

/**
 * {@link recv} from a socket that does not wait, or with MSG_DONTWAIT in `flags`: undefined where nothing is there. A
 * socket that is asked again and again mostly has nothing, and an error for that would cost more than the call.
 */
export function recvNow(fd: number, buffer: Uint8Array, flags: number): number | undefined {
  const length = Number(c.recv(fd, buffer, buffer.length, flags));
  if (length < 0 && koffi.errno() === EAGAIN) return undefined;
  return checked('receive from a socket', length);
}

export function setsockopt(fd: number, level: number, name: number, value: number): void {
  checked(
    `set socket option ${level}/${name} to ${value}`,
    Number(c.setsockopt(fd, level, name, Int32Array.of(value), 4)),
  );
}

/** For an option that is a structure. */
export function setsockoptBytes(fd: number, level: number, name: number, value: Uint8Array): void {
  const words = new Int32Array(value.buffer, value.byteOffset, value.length / 4);
  checked(`set socket option ${level}/${name}`, Number(c.setsockopt(fd, level, name, words, value.length)));
}

/** Fills `value` and returns how many of its bytes the option has. */
export function getsockopt(fd: number, level: number, name: number, value: Uint8Array): number {
  const length = [value.length];
  checked(`read socket option ${level}/${name}`, Number(c.getsockopt(fd, level, name, value, length)));
  return length[0] ?? 0;
}

export function open(path: string, flags: number, mode = 0): number {
  return checked(`open ${path}`, Number(c.open(path, flags, mode)));
}

export function close(fd: number): void {
  checked(`close descriptor ${fd}`, Number(c.close(fd)));
}

export function unshare(flags: number): void {
  checked('make a new namespace', Number(c.unshare(flags)));
}

export function setns(fd: number, type: number): void {
  checked('enter a namespace', Number(c.setns(fd, type)));
}

/** @param options as in mount(8) after `-o`, those of the filesystem only */
export function mount(
  source: string,
  target: string,
  type: string | null,
  flags: number,
  options: string | null = null,
): void {
  checked(`mount ${source} on ${target}`, Number(c.mount(source, target, type, flags, options)));
}

export function umount(target: string, flags: number): void {
  checked(`unmount ${target}`, Number(c.umount2(target, flags)));
}

export function ioctl(attempt: string, fd: number, request: number, argument: Uint8Array): void {
  checked(attempt, Number(c.ioctl(fd, request, argument)));
}

/** {@link ioctl} for a link: false where there is none, which is what is mostly asked of one that is to be gone. */
export function ioctlLink(attempt: string, fd: number, request: number, argument: Uint8Array): boolean {
  const result = Number(c.ioctl(fd, request, argument));
  if (result < 0 && koffi.errno() === ENODEV) return false;
  checked(attempt, result);
  return true;
}

/** The processor that the calling thread runs on. */
export function currentProcessor(): number {
  return checked('tell the processor', Number(c.schedGetcpu()));
}

/** Fills `mask` with the processors that the calling thread may run on, a bit each. */
export function getAffinity(mask: Uint8Array): void {
  checked('read which processors to run on', Number(c.schedGetaffinity(0, mask.length, mask)));
}

/** @param thread its id, see gettid(2) */
export function setAffinity(thread: number, mask: Uint8Array): void {
  checked('set which processors to run on', Number(c.schedSetaffinity(thread, mask.length, mask)));
}

/** Takes a lock that goes with the process. @throws SyscallError EWOULDBLOCK where another holds it */
export function lockFile(fd: number, path: string): void {
  const LOCK_EX = 2;
  const LOCK_NB = 4;
  checked(`lock ${path}`, Number(c.flock(fd, LOCK_EX | LOCK_NB)));
}

/** A counter that can be read from as soon as anything was added to it. */
export function eventfd(): number {
  return checked('make an eventfd', Number(c.eventfd(0, O_CLOEXEC)));
}

/**
 * Waits for descriptors, and fills in what came of them.
 *
 * @param fds of struct pollfd, so many as `count` says
 * @param timeout ms; without an end where it is negative
 * @returns false where nothing came of any: time is up, or a signal came
 */
export function poll(fds: Uint8Array, count: number, timeout: number): boolean {
  const result = Number(c.poll(fds, count, timeout));
  if (result < 0 && koffi.errno() === EINTR) return false;
  return checked(`wait for ${count} descriptors`, result) > 0;
}

/** A descriptor of the process that has this number now; undefined where none has, or it is that of a thread. */
export function pidfdOpen(pid: number): number | undefined {
  const result = Number(c.pidfdOpen(__NR_pidfd_open, pid, 0));
  if (result < 0 && [ESRCH, EINVAL].includes(koffi.errno())) return undefined;
  return checked(`watch process ${pid}`, result);
}
