import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { listLinks } from '../../linux/observe/links.ts';
import { isRunning } from '../../linux/process.ts';
import { deleteLink } from '../../linux/route/link.ts';
import { isFirstName } from '../../linux/route/marked-link.ts';
import { ROOT } from '../../plan/state.ts';
import { readMark } from '../owner/mark.ts';

/**
 * Takes away links that clients have made who were killed before they gave them their names: nobody would look for them by
 * those. Which tunnel one was to be it does not say, and it has told nobody anything yet.
 *
 * @param socket of NETLINK_ROUTE, in the root namespace
 * @returns what was done, in words
 */
export function removeUnnamedLinks(socket: NetlinkSocket): string[] {
  const left = listLinks(socket, ROOT).flatMap(({ end, alias }) => {
    const mark = isFirstName(end.link.name) ? readMark(alias) : undefined;
    return mark === undefined || isRunning(mark.owner) ? [] : [end.link];
  });
  const errors = socket.batch(left.map(deleteLink));
  const failure = errors.find((error) => error !== undefined && error.errnoName !== 'ENODEV');
  if (failure !== undefined) throw failure;
  return left.map(({ name }) => `ip link delete ${name}`);
}
