import type { SeenDevice } from '../../plan/wireguard/device.ts';
import type { Edit } from '../../plan/wireguard/edit.ts';

/** One device, whatever makes it: the kernel, or a program in user space. `backend.test.ts` holds both to the same. */
export interface WireguardBackend extends Disposable {
  /** Whether the device is there; cheap to ask. */
  readonly isAlive: boolean;

  /** @throws CulvertError `dump_interrupted` where it was never read whole; `wireguard_away` where it is gone, `wireguard_slow`
   *   where it does not answer */
  read(): SeenDevice;

  /**
   * Says all of it, in as few messages as it takes. More than one message, or lines that a program reads one by one, are
   * no transaction: what failed half-way shows when the device is read.
   *
   * @throws SyscallError, or CulvertError `wireguard_refused` or `wireguard_away`
   */
  edit(edits: readonly Edit[]): void;
}
