import { readFileSync } from 'node:fs';
import { waitUntil } from '../../lab/wait.ts';
import { IPCTNL_MSG_CT_GET, NFNL_SUBSYS_CTNETLINK } from '../../src/linux/conntrack/constants.ts';
import * as nftables from '../../src/linux/nftables/constants.ts';
import * as route from '../../src/linux/route/constants.ts';

/*
 * Where a process is to be killed, from a log of strace(1): at each call that changes something. To be killed at a call
 * that only reads is to be killed at the next that changes; such calls are left out but for the nearest, since how many
 * of them come before a change depends on time.
 */

/** Calls that read are taken this near to one that changes. */
const NEAR = 2;

/** Netlink messages that ask. */
const READING = new Set([
  route.RTM_GETLINK,
  route.RTM_GETADDR,
  route.RTM_GETROUTE,
  route.RTM_GETNEIGH,
  route.RTM_GETQDISC,
  route.RTM_GETNETCONF,
  (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET,
  ...[
    nftables.NFT_MSG_GETTABLE,
    nftables.NFT_MSG_GETCHAIN,
    nftables.NFT_MSG_GETRULE,
    nftables.NFT_MSG_GETSET,
    nftables.NFT_MSG_GETSETELEM,
    nftables.NFT_MSG_GETGEN,
  ].map((type) => (nftables.NFNL_SUBSYS_NFTABLES << 8) | type),
]);

/** The lines of a log, which ends after what it traces: the last of every thread says that it is gone. */
export function readWhenFinished(log: string): string[] {
  const deadline = Date.now() + 60_000;
  const threadOf = (line: string): string => /^\d+ /.exec(line)?.[0] ?? '';
  let lines: string[] = [];
  waitUntil(() => {
    lines = readFileSync(log, 'utf8').trimEnd().split('\n');
    const gone = new Set(lines.filter((line) => line.includes('+++ exited')).map(threadOf));
    if (lines.at(-1)?.includes('+++ exited') && lines.every((line) => gone.has(threadOf(line)))) return true;
    if (Date.now() > deadline) throw new Error(`strace has not finished: ${lines.at(-1)}`);
    return false;
  });
  return lines;
}

/** Which ones of a call, counted from 1 on each thread. */
export function pointsOf(call: string, lines: readonly string[]): number[] {
  const threads = new Map<string, boolean[]>();
  for (const line of lines) {
    const [, thread = '', name] = /^(?:(\d+) +)?(\w+)\(/.exec(line) ?? [];
    if (name !== call) continue;
    const changes = threads.get(thread) ?? [];
    changes.push(!isReading(line));
    threads.set(thread, changes);
  }
  const nths = new Set([...threads.values()].flatMap(aroundChanges));
  return [...nths].toSorted((left, right) => left - right);
}

function aroundChanges(changes: readonly boolean[]): number[] {
  const isNear = (at: number): boolean => changes.slice(Math.max(0, at - NEAR), at + NEAR + 1).includes(true);
  return changes.flatMap((_, at) => (isNear(at) ? [at + 1] : []));
}

/** Whether a call, as strace(1) shows it, leaves the kernel as it is. */
function isReading(line: string): boolean {
  if (/^(\d+ +)?ioctl\(\d+, SIOCG/.test(line)) return true;
  const type = /nlmsg_type=([^ ,]+)/.exec(line)?.[1];
  if (type === undefined) return false;
  // a number where the socket is of another namespace than strace
  return type.startsWith('0x') ? READING.has(Number(type)) : /(RTM|MSG|_CT)_GET/.test(type);
}
