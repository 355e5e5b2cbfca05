import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError, InputError } from '../../errors.ts';
import { ROUTER } from '../../plan/state.ts';
import type { Sandbox } from '../../sandbox/sandbox.ts';
import { sandboxNamespace } from '../../sandbox/topology/layout.ts';
import { readTunnelConfig } from '../../tunnel/config/read.ts';
import type { BackendKind } from '../../tunnel/device/device.ts';

/** A tunnel that is to be there for a sandbox, or for a group. */
export type Wish = {
  /** tells it from others that had its number before */
  readonly serial: number;
  /** of this host */
  readonly number: number;
  /** the name of its file */
  readonly tunnel: string;
  /** name of the namespace that its link is to be in */
  readonly namespace: string;
  /** whether what leaves by it comes from elsewhere: a guest, or the sandboxes of a group */
  readonly forwards: boolean;
  /** who makes the device; absent for whoever can */
  readonly backend?: BackendKind;
  /** for whom it is, in words */
  readonly whose: string;
};

/** bytes: a file that is larger is none of ours */
const FILE_MAX = 1024 * 1024;

/** The tunnel of a sandbox; undefined for one that leaves by its host. */
export function wishOf({ id, slot, via, group, topology }: Sandbox): Omit<Wish, 'serial'> | undefined {
  if (via === undefined) return undefined;
  const { number, tunnel } = via;
  if (group !== undefined) {
    return { number, tunnel, namespace: ROUTER, forwards: true, whose: `group ${group}` };
  }
  const common = { number, tunnel, namespace: sandboxNamespace(slot), whose: `sandbox ${id}` };
  if (topology === 'microvm') return { ...common, forwards: true };
  // who is root where a device of the kernel is reads its key, and has it send where they like from the host
  return { ...common, forwards: false, backend: 'userspace' };
}

/**
 * The file of a tunnel, read and found to be one.
 *
 * @param folder of all of them
 * @throws InputError `via_unknown`; CulvertError `via_file` where it is not usable, which shows no key
 */
export function readViaFile(folder: string, tunnel: string): string {
  const file = join(folder, `${tunnel}.conf`);
  try {
    const { mode, size } = statSync(file);
    if ((mode & 0o077) !== 0) throw new Error(`others may read it, and it holds a private key: chmod 600 ${file}`);
    if (size > FILE_MAX) throw new Error(`it has more than ${FILE_MAX} bytes`);
    const text = readFileSync(file, 'utf8');
    readTunnelConfig(text);
    return text;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      const message = `Cannot leave by tunnel ${tunnel}: this host has no ${file}`;
      throw new InputError('via_unknown', message, { field: 'via', cause });
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CulvertError('via_file', `Cannot leave by tunnel ${tunnel}, ${file}: ${why}`, { cause });
  }
}
