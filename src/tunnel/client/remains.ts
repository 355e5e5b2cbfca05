import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../clock.ts';
import { CulvertError } from '../../errors.ts';
import { isNamespace, NamespaceHandle } from '../../linux/namespace.ts';
import { NETLINK_NETFILTER, NETLINK_ROUTE } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { findLinkNamed, listLinks } from '../../linux/observe/links.ts';
import { isRunning, type ProcessId } from '../../linux/process.ts';
import { type Link, ROOT } from '../../plan/state.ts';
import { MachineDns } from '../dns/machine-dns.ts';
import { listFirewalls } from '../firewall/keeper.ts';
import { AlteredSysctls } from '../journal/altered-sysctls.ts';
import { type Mark, readMark } from '../owner/mark.ts';
import { orphanedRules, removeOrphanedRules } from '../takeover/orphaned-rules.ts';
import { assertAbandoned } from '../takeover/standing.ts';
import { ownLink, type Swept, sweep } from '../takeover/sweep.ts';
import { type Folders, foldersOf, namespaceOf } from './folders.ts';
import { holderOf, namesIn } from './hold.ts';
import { type ShownPeer, seenPeers } from './seen-peers.ts';
import { Workplace } from './workplace.ts';

/** What the kernel has of a tunnel in the network namespace of the calling thread. */
export type Remains = {
  readonly name: string;
  /** who keeps it, if anybody does */
  readonly owner?: ProcessId;
  readonly hasLink: boolean;
  /** path of the namespace that it is for, where that is another */
  readonly namespace?: string;
  readonly hasKillSwitch: boolean;
  /** the one that was heard last first; absent where its device does not answer, or there is none */
  readonly peers?: readonly ShownPeer[];
};

/** What was done, and whether a kill switch is there still. */
export type CleanedAfter = Swept & { readonly isClosed: boolean };

/**
 * Tunnels of which anything is there: links that say so, tables, what of the machine is altered for them, and processes
 * that are about to make one.
 */
export function listTunnels(folders: Folders = {}): Remains[] {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  using netfilter = new NetlinkSocket(NETLINK_NETFILTER);
  const found = new Map<string, Remains>();
  const add = (name: string, part: Partial<Remains>): void => {
    const former = found.get(name) ?? { name, hasLink: false, hasKillSwitch: false };
    found.set(name, { ...former, ...part });
  };
  const { common } = foldersOf(folders);
  for (const { end, alias, kind } of listLinks(socket, ROOT)) {
    const mark = readMark(alias);
    if (mark === undefined) continue;
    const { name } = end.link;
    const peers = seenPeers(name, kind, join(common, name));
    const owner = isRunning(mark.owner) ? { owner: mark.owner } : {};
    add(name, { hasLink: true, ...owner, ...(peers === undefined ? {} : { peers }) });
  }
  for (const { purpose, tunnel } of listFirewalls(netfilter)) {
    add(tunnel, purpose === 'kill switch' ? { hasKillSwitch: true } : {});
  }
  for (const name of namesIn(common)) {
    const owner = keeperOf(name, folders);
    if (owner !== undefined) add(name, { owner });
    const namespace = namespaceOf(name, folders);
    const seen = namespace === undefined ? undefined : seenIn(namespace, name, join(common, name));
    if (namespace === undefined || (seen === undefined && owner === undefined)) continue;
    const keeper = seen !== undefined && isRunning(seen.mark.owner) ? { owner: seen.mark.owner } : {};
    const peers = seen?.peers === undefined ? {} : { peers: seen.peers };
    add(name, { namespace, hasLink: seen !== undefined, ...keeper, ...peers });
  }
  for (const name of journalled(folders)) add(name, {});
  return [...found.values()].toSorted((one, other) => one.name.localeCompare(other.name, 'en', { numeric: true }));
}

/** How many rules are left of tunnels of which nothing else is: a rule does not say whose it is. */
export function countOrphanedRules(): number {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return orphanedRules(socket).length;
}

/** Takes those away. @returns what was done, in words */
export function cleanRules(): string[] {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return removeOrphanedRules(socket);
}

/** Of whom anything is to be undone in this namespace. */
function journalled(folders: Folders): string[] {
  const { common, state, inode } = foldersOf(folders);
  const { bootId } = systemClock();
  const suffix = `.${inode}`;
  const dns = existsSync(state) ? new MachineDns({ folder: state, bootId }).tunnels() : [];
  const sysctls = existsSync(common) ? new AlteredSysctls(common, bootId).tunnels() : [];
  return [...dns.flatMap((one) => (one.endsWith(suffix) ? [one.slice(0, -suffix.length)] : [])), ...sysctls];
}

type SeenInside = { readonly mark: Mark; readonly peers: readonly ShownPeer[] | undefined };

/** The link of a tunnel in a namespace, which may be gone. @param folder with the socket of a program */
function seenIn(namespace: string, name: string, folder: string): SeenInside | undefined {
  if (!isNamespace(namespace)) return undefined;
  using inside = new NamespaceHandle(namespace);
  using socket = inside.run(() => new NetlinkSocket(NETLINK_ROUTE));
  const seen = findLinkNamed(socket, ROOT, name);
  const mark = readMark(seen?.alias ?? '');
  if (mark === undefined) return undefined;
  return { mark, peers: inside.run(() => seenPeers(name, seen?.kind, folder)) };
}

/** The process that works on a tunnel, or keeps it. */
export function keeperOf(name: string, folders: Folders = {}): ProcessId | undefined {
  return holderOf(join(foldersOf(folders).common, name));
}

/**
 * Takes away all there is of a tunnel that nobody keeps, wherever its link is.
 *
 * @param keeps whether a kill switch stays
 * @throws CulvertError `tunnel_in_use`
 */
export function clean(
  name: string,
  folders: Folders = {},
  { keeps }: { readonly keeps: boolean } = { keeps: false },
): Swept {
  using place = new Workplace(name, folders, namespaceOf(name, folders), 'cleaning');
  return cleanAt(place, keeps);
}

/**
 * Takes away what a client that has ended has left of a tunnel, but for its kill switch: that stays until there is
 * another tunnel, or a person says otherwise.
 *
 * @returns undefined where none of it is to be touched: somebody keeps it or works on it, or it was made with other
 *   folders, where what it altered is written down
 * @throws CulvertError `folder_unusable`, `dump_interrupted`
 */
export function cleanAfter(name: string, folders: Folders = {}): CleanedAfter | undefined {
  const isOfOthers = !existsSync(join(foldersOf(folders).common, name, 'lock')) && !journalled(folders).includes(name);
  if (isOfOthers) return undefined;
  using place = placeToClean(name, folders);
  if (place === undefined) return undefined;
  const owners = [place, place.root].flatMap((where) => ownLink(where).mark?.owner ?? []);
  if (owners.some(isRunning)) return undefined;
  const swept = cleanAt(place, true);
  const tables = listFirewalls(place.netfilter);
  return { ...swept, isClosed: tables.some(({ purpose, tunnel }) => purpose === 'kill switch' && tunnel === name) };
}

function cleanAt(place: Workplace, keeps: boolean): Swept {
  const swept = sweep(place, linkOf(place), { keeps });
  if (place.at === ROOT) return swept;
  // one that was killed before its link was where it was to be
  const { done, failed } = sweep(place.root, linkOf(place.root), { keeps });
  return { done: [...swept.done, ...done], failed: [...swept.failed, ...failed] };
}

function placeToClean(name: string, folders: Folders): Workplace | undefined {
  try {
    return new Workplace(name, folders, namespaceOf(name, folders), 'cleaning');
  } catch (error) {
    if (error instanceof CulvertError && error.code === 'tunnel_in_use') return undefined;
    throw error;
  }
}

function linkOf(place: Workplace['root']): Link | undefined {
  const { link, mark } = ownLink(place);
  if (mark !== undefined) assertAbandoned('clean', place.name, mark);
  return link;
}
