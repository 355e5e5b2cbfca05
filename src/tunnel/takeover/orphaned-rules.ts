import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { listLinks } from '../../linux/observe/links.ts';
import { listPolicyRules } from '../../linux/observe/rules.ts';
import { deletePolicyRule, type PolicyRule } from '../../linux/route/rule.ts';
import { type Family, ROOT } from '../../plan/state.ts';
import { readMark } from '../owner/mark.ts';
import { TUNNEL_PROTOCOL } from '../plan/routing.ts';

const FAMILIES: readonly Family[] = ['inet', 'inet6'];

/**
 * Rules of ours that no link of ours has any more: a rule does not say which tunnel it was of, but the link says which
 * mark it has.
 *
 * @param socket of NETLINK_ROUTE, in the root namespace
 */
export function orphanedRules(socket: NetlinkSocket): PolicyRule[] {
  const marks = new Set(listLinks(socket, ROOT).map(({ alias }) => readMark(alias)?.fwMark));
  return FAMILIES.flatMap((family) => orphansOf(socket, family, marks));
}

/** Takes them away. @returns what was done, in words */
export function removeOrphanedRules(socket: NetlinkSocket): string[] {
  const orphans = orphanedRules(socket);
  const errors = socket.batch(orphans.map(deletePolicyRule));
  const failure = errors.find((error) => error !== undefined && error.errnoName !== 'ENOENT');
  if (failure !== undefined) throw failure;
  return orphans.map(({ family, priority }) => `ip ${family === 'inet6' ? '-6 ' : ''}rule delete priority ${priority}`);
}

function orphansOf(socket: NetlinkSocket, family: Family, marks: ReadonlySet<number | undefined>): PolicyRule[] {
  const own = listPolicyRules(socket, ROOT, { family, protocol: TUNNEL_PROTOCOL });
  const isKept = (rule: PolicyRule): boolean => rule.mark !== undefined && marks.has(rule.mark.value);
  const kept = new Set(own.filter(isKept).map(({ priority }) => priority));
  // the one that has no mark stands before the one that has
  return own.filter((rule) => !isKept(rule) && !(rule.mark === undefined && kept.has(rule.priority + 1)));
}
