import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import { hasKernelWireguard } from './kernel.ts';

const PROGRAM = 'wireguard-go';

/**
 * Who is to make WireGuard devices: the kernel where it can, else a program.
 *
 * @throws CulvertError `no_wireguard` where neither is there
 */
export function availableWireguard(): 'kernel' | 'userspace' {
  if (hasKernelWireguard()) return 'kernel';
  if (isOnPath(PROGRAM)) return 'userspace';
  const message = `Cannot use WireGuard: this kernel has none, and there is no ${PROGRAM} on PATH; load the wireguard module, or install ${PROGRAM}`;
  throw new CulvertError('no_wireguard', message);
}

function isOnPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
