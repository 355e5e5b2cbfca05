import { isRunning, type ProcessId } from '../process.ts';
import { close, pidfdOpen } from '../syscall.ts';

/** The end of a process, as a descriptor that can be read from when it is there (pidfd_open(2)). */
export class ProcessEnd implements Disposable {
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * Of this process and of no other: a descriptor stays with the process that it was opened for, so that one of which the
   * beginning is right after that is never another's.
   *
   * @returns undefined where it has ended
   */
  static of(process: ProcessId): ProcessEnd | undefined {
    const fd = pidfdOpen(process.pid);
    if (fd === undefined) return undefined;
    if (isRunning(process)) return new ProcessEnd(fd);
    close(fd);
    return undefined;
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}
