import type { Kernel } from '../../linux/apply.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { findLinkNamed } from '../../linux/observe/links.ts';
import { type Link, type NamespaceName, ROOT } from '../../plan/state.ts';
import { removeDevice } from '../device/device.ts';
import type { MachineDns } from '../dns/machine-dns.ts';
import { withNetfilter } from '../firewall/inside.ts';
import { removeFirewall } from '../firewall/keeper.ts';
import type { AlteredSysctls } from '../journal/altered-sysctls.ts';
import { type Mark, readMark } from '../owner/mark.ts';
import { makersOf } from '../owner/processes.ts';
import { removeOrphanedRules } from './orphaned-rules.ts';
import { removeUnnamedLinks } from './unnamed-links.ts';

export type SweepParts = {
  readonly kernel: Kernel;
  /** of NETLINK_NETFILTER, in the root namespace */
  readonly netfilter: NetlinkSocket;
  readonly dns: MachineDns;
  /** of the tunnel, among those of all namespaces that share a resolv.conf */
  readonly dnsName: string;
  readonly sysctls: AlteredSysctls;
  readonly name: string;
  /** with the socket of a program */
  readonly folder: string;
  /** where its link is */
  readonly at: NamespaceName;
};

/** What was done of what had to go, or why it could not be. */
export type Swept = { readonly done: readonly string[]; readonly failed: readonly Error[] };

/**
 * Takes away all there is of a tunnel, in an order in which nothing leaks: name servers first, while packets to those of
 * before still go through the tunnel; rules when the link is gone, since without them what is for the tunnel would go
 * another way; the kill switch last. One step that fails keeps no other from being done.
 *
 * @param given the link that stands, if any, or how to find it
 * @param keeps whether the kill switch stays
 * @param isElsewhere whether the device that there may be has its link in another namespace, and stays
 */
export function sweep(
  parts: SweepParts,
  given: Link | undefined | (() => Link | undefined),
  { keeps, isElsewhere = false }: { readonly keeps: boolean; readonly isElsewhere?: boolean },
): Swept {
  const { kernel, netfilter, dns, dnsName, sysctls, name } = parts;
  const done: string[] = [];
  const failed: Error[] = [];
  const step = (body: () => readonly string[]): void => {
    try {
      done.push(...body());
    } catch (error) {
      failed.push(error instanceof Error ? error : new Error(String(error)));
    }
  };
  let link: Link | undefined;
  step(() => {
    link = typeof given === 'function' ? given() : given;
    return [];
  });
  step(() => {
    const { outcome, notices } = dns.unset(dnsName);
    return [...(outcome === 'nothing' ? [] : [`name servers: ${outcome}`]), ...notices];
  });
  step(() => {
    if (!isElsewhere) removeDevice(parts, link);
    return link === undefined ? [] : [`ip link delete ${link.name}`];
  });
  step(() => kernel.withSocket(ROOT, removeUnnamedLinks));
  step(() => kernel.withSocket(ROOT, removeOrphanedRules));
  step(() => {
    const isRemoved = withNetfilter(parts, (socket) => removeFirewall(socket, 'way', name));
    return isRemoved === true ? [`nft delete table inet culvert_tunnel_${name}`] : [];
  });
  step(() => {
    const foreign = sysctls.release(name);
    return foreign.map(({ name: setting, found }) => `${setting} stays ${found}, which somebody else has set`);
  });
  if (!keeps) {
    step(() => (removeFirewall(netfilter, 'kill switch', name) ? [`nft delete table inet culvert_kill_${name}`] : []));
  }
  return { done, failed };
}

/**
 * The link of a tunnel: another's of that name may come at any time, and is not ours to take away. One that a program has
 * just made says nothing of itself yet; the program is known by its folder.
 */
export function ownLink({ kernel, name, folder, at }: Pick<SweepParts, 'kernel' | 'name' | 'folder' | 'at'>): OwnLink {
  const seen = kernel.withSocketIfThere(at, (socket) => findLinkNamed(socket, at, name));
  if (seen === undefined) return {};
  const { link } = seen.end;
  const mark = readMark(seen.alias);
  if (mark !== undefined) return { link, mark };
  return seen.kind === 'tun' && makersOf(folder, name).length > 0 ? { link } : {};
}

type OwnLink = { readonly link?: Link; readonly mark?: Mark };
