import type { Kernel } from '../../linux/apply.ts';
import { NETLINK_NETFILTER } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { type NamespaceName, ROOT } from '../../plan/state.ts';

export type NetfilterParts = {
  readonly kernel: Kernel;
  /** of NETLINK_NETFILTER, in the root namespace */
  readonly netfilter: NetlinkSocket;
  /** where the tunnel's link is */
  readonly at: NamespaceName;
};

/**
 * Lends a socket of NETLINK_NETFILTER where the tunnel's link is. One that stayed open would keep that namespace from
 * going.
 *
 * @returns undefined where there is no such namespace any more
 */
export function withNetfilter<T>(
  { kernel, netfilter, at }: NetfilterParts,
  body: (socket: NetlinkSocket) => T,
): T | undefined {
  if (at === ROOT) return body(netfilter);
  using socket = kernel.insideIfThere(at, () => new NetlinkSocket(NETLINK_NETFILTER));
  return socket && body(socket);
}
