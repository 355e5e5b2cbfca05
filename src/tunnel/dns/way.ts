import { readFileSync, statSync } from 'node:fs';
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

/**
 * Whether the file is another network's: the first process of the machine, or one that the calling thread descends from,
 * has the same file and not the same network. Those that may not be looked at tell nothing.
 */
export function isOfOthers(path: string): boolean {
  const own = statSync('/proc/thread-self/ns/net').ino;
  const file = whereAllowed(() => statSync(path));
  if (file === undefined) return false;
  return [...ancestors(), '1'].some((pid) => {
    const there = whereAllowed(() => ({
      net: statSync(`/proc/${pid}/ns/net`),
      file: statSync(`/proc/${pid}/root${path}`),
    }));
    return there !== undefined && there.net.ino !== own && there.file.dev === file.dev && there.file.ino === file.ino;
  });
}

/** The process itself, whose other threads may be elsewhere, who started it, and so on. */
function ancestors(): string[] {
  const found: string[] = [];
  for (let pid = String(process.pid); pid !== '0' && !found.includes(pid); ) {
    found.push(pid);
    const status = whereAllowed(() => readFileSync(`/proc/${pid}/status`, 'utf8')) ?? '';
    pid = /^PPid:\s+(\d+)$/m.exec(status)?.[1] ?? '0';
  }
  return found;
}

/** undefined where it is not there, or not for who runs this. */
function whereAllowed<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
