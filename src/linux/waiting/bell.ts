import { writeSync } from 'node:fs';
import { close, eventfd } from '../syscall.ts';

/** Wakes another thread that stands still until one of its descriptors can be read from (eventfd(2)). */
export class Bell implements Disposable {
  /** for that thread: once it was rung it can be read from for good */
  readonly fd: number = eventfd();

  ring(): void {
    writeSync(this.fd, new Uint8Array(BigUint64Array.of(1n).buffer));
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}
