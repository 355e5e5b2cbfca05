import { InputError } from '../errors.ts';
import type { Topology } from '../ipam/lease.ts';

declare const brand: unique symbol;

/** A private group of sandboxes, on any of a cluster's hosts: those in it reach each other, and nobody else does. */
export type GroupName = string & { readonly [brand]: 'GroupName' };

const GROUP = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** It is a label of DNS (RFC 1123), lower case. @throws InputError `invalid_group` */
export function parseGroupName(text: string): GroupName {
  if (GROUP.test(text)) return text as GroupName;
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
  const want = 'want 1 to 63 of a-z, 0-9 and -, the first and the last a letter or digit';
  throw new InputError('invalid_group', `Cannot use ${shown} as a group: ${want}`);
}

/**
 * On the bridge of another host somebody else has the address, and ports of one do not reach each other.
 *
 * @throws InputError `group_topology`
 */
export function assertGroup(topology: Topology, group: GroupName | undefined): void {
  if (group === undefined || topology !== 'bridge') return;
  const why = 'its address is known on this host only; want microvm or netns';
  throw new InputError('group_topology', `Cannot put a bridge sandbox into group ${group}: ${why}`, { field: 'group' });
}

const IN = ' in ';

/** Who has an element of the rules, and in which group: what an observer knows it again by. */
export function memberComment(owner: string, group: GroupName): string {
  return `${owner}${IN}${group}`;
}

/** What {@link memberComment} said; undefined of any other comment. */
export function readMemberComment(comment = ''): { readonly owner: string; readonly group: GroupName } | undefined {
  const at = comment.lastIndexOf(IN);
  if (at < 0 || !GROUP.test(comment.slice(at + IN.length))) return undefined;
  return { owner: comment.slice(0, at), group: comment.slice(at + IN.length) as GroupName };
}
