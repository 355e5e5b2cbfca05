import { read, writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { NamespaceHandle } from '../../src/linux/namespace.ts';
import { openTap } from '../../src/linux/tap.ts';

/*
 * `wire.ts TAP PIN`: joins a TAP of the namespace it runs in with `eth0`, a TAP that it makes in the namespace at PIN, as
 * a virtual machine monitor joins a TAP with its guest's network device. Prints a line when both are open.
 */

/** A frame, its Ethernet header and the header before it. */
const BUFFER_BYTES = 65_535 + 14 + 10;

const [tap = '', pin = ''] = process.argv.slice(2);

function copyFrames(from: number, to: number): void {
  const buffer = Buffer.alloc(BUFFER_BYTES);
  const next = (): void =>
    // Each read waits in a thread of libuv's pool, of which there are more than two.
    read(from, buffer, 0, BUFFER_BYTES, null, (error, length) => {
      if (error !== null) throw error;
      pass(to, buffer, length);
      next();
    });
  next();
}

function pass(to: number, frame: Uint8Array, length: number): void {
  try {
    writeSync(to, frame, 0, length);
  } catch (error) {
    // The link at the other end is down: what is sent to it is lost, as on any wire.
    if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
  }
}

const near = openTap(tap);
using guest = new NamespaceHandle(pin);
const far = guest.run(() => openTap('eth0'));
copyFrames(near, far);
copyFrames(far, near);
flushCompileCache();
process.stdout.write('wired\n');
