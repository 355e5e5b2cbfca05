import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { formatIpPrefix, ipPrefixAround, ipPrefixesOverlap } from '../../addr/ip-prefix.ts';
import { formatPrefix, type Prefix } from '../../addr/prefix.ts';
import { CulvertError, InputError } from '../../errors.ts';
import type { TunnelConfig } from '../../tunnel/config/config.ts';
import { readTunnelConfig } from '../../tunnel/config/read.ts';

/** The file of a tunnel. */
export type ViaFile = { readonly text: string; readonly config: TunnelConfig };

/** bytes: a file that is larger is none of ours */
const FILE_MAX = 1024 * 1024;

/**
 * The file of a tunnel, read and found to be one.
 *
 * @param folder of all of them
 * @throws InputError `via_unknown`; CulvertError `via_file` where it is not usable, which shows no key
 */
export function readViaFile(folder: string, tunnel: string): ViaFile {
  const file = join(folder, `${tunnel}.conf`);
  try {
    const { mode, size } = statSync(file);
    if ((mode & 0o077) !== 0) throw new Error(`others may read it, and it holds a private key: chmod 600 ${file}`);
    if (size > FILE_MAX) throw new Error(`it has more than ${FILE_MAX} bytes`);
    const text = readFileSync(file, 'utf8');
    return { text, config: readTunnelConfig(text) };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      const message = `Cannot leave by tunnel ${tunnel}: this host has no ${file}`;
      throw new InputError('via_unknown', message, { field: 'via', cause });
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CulvertError('via_file', `Cannot leave by tunnel ${tunnel}, ${file}: ${why}`, { cause });
  }
}

/**
 * The tunnel of a group is in the router, among the addresses of sandboxes.
 *
 * @param ranges that they have theirs from
 * @throws InputError `via_address`
 */
export function assertApart(tunnel: string, { config }: ViaFile, ranges: readonly Prefix[]): void {
  for (const { address, length } of config.addresses) {
    const range = ranges.find((one) => ipPrefixesOverlap(ipPrefixAround(address, length), one));
    if (range === undefined) continue;
    const what = `its address ${formatIpPrefix({ address, length })} overlaps the sandboxes’ ${formatPrefix(range)}`;
    const instead = 'give each sandbox a tunnel of its own, or the daemon other ranges';
    const message = `Cannot have a group leave by tunnel ${tunnel}: ${what}; ${instead}`;
    throw new InputError('via_address', message, { field: 'via' });
  }
}
