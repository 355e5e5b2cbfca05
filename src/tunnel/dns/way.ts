import { statSync } from 'node:fs';
import { CulvertError } from '../../errors.ts';
import type { ProgramWay } from './program-ways.ts';

/** How a machine's name servers are set. */
export type DnsWay = 'file' | ProgramWay;
/** `auto`: as the machine does it. */
export type DnsChoice = 'auto' | 'off' | DnsWay;

export type DnsFacts = {
  /** something is mounted on resolv.conf: neither of the programs is in charge of what is there */
  readonly isMount: boolean;
  readonly hasResolvconf: boolean;
  readonly hasResolvectl: boolean;
  /** resolv.conf has systemd-resolved asked */
  readonly isStub: boolean;
  /** resolv.conf is the machine's, and the tunnel is not in its network namespace */
  readonly isOfOthers: boolean;
};

/** @throws CulvertError `dns_of_others` */
export function chooseWay(facts: DnsFacts): DnsWay {
  if (facts.isMount) return 'file';
  if (facts.isOfOthers) {
    const message =
      'Cannot set the name servers of another network namespace than the machine’s: resolv.conf is the machine’s; give the namespace one of its own (ip-netns(8): /etc/netns/NAME/resolv.conf), or choose dns off, or file';
    throw new CulvertError('dns_of_others', message);
  }
  if (facts.hasResolvconf) return 'resolvconf';
  if (facts.isStub && facts.hasResolvectl) return 'resolved';
  return 'file';
}

/** Whether the first process of the machine has the same file, and another network. */
export function isOfOthers(path: string): boolean {
  try {
    const own = statSync('/proc/thread-self/ns/net').ino;
    if (statSync('/proc/1/ns/net').ino === own) return false;
    const [here, there] = [statSync(path), statSync(`/proc/1/root${path}`)];
    return here.dev === there.dev && here.ino === there.ino;
  } catch (error) {
    // there is no such file, or who runs may not look at the first process, and so neither at what is the machine's
    if (['ENOENT', 'EACCES', 'EPERM', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}
