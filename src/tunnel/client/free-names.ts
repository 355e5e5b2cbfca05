import { join } from 'node:path';
import { ROOT } from '../../plan/state.ts';
import { ownLink } from '../takeover/sweep.ts';
import { holderOf } from './hold.ts';
import type { Workplace } from './workplace.ts';

/**
 * Puts back name servers that tunnels have set that are gone, whatever they were called: nobody answers there, and no name
 * of an endpoint would be found.
 *
 * @returns what was done, in words
 */
export function freeNames({ dns, dnsName, inode, common, root }: Workplace): string[] {
  const suffix = `.${inode}`;
  return dns.tunnels().flatMap((asking) => {
    const name = asking.slice(0, -suffix.length);
    if (asking === dnsName || !asking.endsWith(suffix)) return [];
    const folder = join(common, name);
    if (holderOf(folder) !== undefined || ownLink({ ...root, name, folder, at: ROOT }).link !== undefined) return [];
    const { outcome, notices } = dns.unset(asking);
    return [`name servers of tunnel ${name}, which is gone: ${outcome}`, ...notices];
  });
}
