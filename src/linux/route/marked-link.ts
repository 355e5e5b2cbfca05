import { randomBytes } from 'node:crypto';
import { CulvertError } from '../../errors.ts';
import type { Link } from '../../plan/state.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import { IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO } from './constants.ts';
import { linkIndex } from './ifreq.ts';
import { CREATE_LINK, deleteLink, renameLink, setAlias, writeLinkHeader } from './link.ts';

export type MarkedLink = {
  /** as in `ip link add type`, one that takes nothing else: `wireguard` */
  readonly kind: string;
  readonly name: string;
  /** its owner's mark, up to 255 bytes */
  readonly alias: string;
};

const FIRST_NAME = 'cv';

/** Whether that is what a marked link is called before it has its name. */
export function isFirstName(name: string): boolean {
  return name.startsWith(FIRST_NAME) && /^[0-9a-f]{12}$/.test(name.slice(FIRST_NAME.length));
}

/**
 * Makes a link in the socket's namespace, down, with an index that the kernel chooses. It has its owner's mark from the
 * first moment, whenever who makes it dies: the kernel takes none while it creates a link, but does what was sent
 * together to its end. Until it is marked it has a name that nobody else's link has, since the kernel goes on after a
 * creation that failed, and would mark another's.
 *
 * @throws SyscallError EEXIST where the name is taken, EOPNOTSUPP where the kernel has no such kind; InputError
 *   `invalid_alias`. Nothing is left behind then; who is killed leaves at most one of its first name
 */
export function makeMarkedLink(socket: NetlinkSocket, { kind, name, alias }: MarkedLink): Link {
  const first = { name: `${FIRST_NAME}${randomBytes(6).toString('hex')}`, index: 0 };
  const [failure, unmarked] = socket.batch([newLink(kind, first.name), setAlias(first, alias)]);
  if (failure !== undefined) throw failure;
  const index = linkIndex(socket, first.name);
  if (index === undefined) throw new CulvertError('link_gone', `Cannot add link ${name}: somebody has deleted it`);
  const error = unmarked ?? socket.batch([renameLink({ ...first, index }, name)])[0];
  if (error === undefined) return { name, index };
  socket.request(deleteLink({ ...first, index }));
  throw error;
}

function newLink(kind: string, name: string): Request {
  return {
    ...CREATE_LINK,
    attempt: `add ${kind} link ${name}`,
    write(writer) {
      writeLinkHeader(writer, 0, 0, 0);
      writer.attrString(IFLA_IFNAME, name);
      writer.nest(IFLA_LINKINFO, (info) => info.attrString(IFLA_INFO_KIND, kind));
    },
  };
}
