import type { LinkEnd } from '../../plan/state.ts';
import type { Request } from '../netlink/socket.ts';
import { IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_NET_NS_FD, VETH_INFO_PEER } from './constants.ts';
import { CREATE_LINK, writeLinkEnd, writeLinkHeader } from './link.ts';

/** Both ends at once and down, the peer born in the namespace behind `peerNamespace` (a descriptor). */
export function newVeth(near: LinkEnd, peer: LinkEnd, peerNamespace: number): Request {
  return {
    ...CREATE_LINK,
    attempt: `add link ${near.link.name} with peer ${peer.link.name} in ${peer.namespace}`,
    write(writer) {
      writeLinkHeader(writer, near.link.index, 0, 0);
      writeLinkEnd(writer, near);
      writer.nest(IFLA_LINKINFO, (info) =>
        info.attrString(IFLA_INFO_KIND, 'veth').nest(IFLA_INFO_DATA, (data) =>
          data.nest(VETH_INFO_PEER, (body) => {
            writeLinkHeader(body, peer.link.index, 0, 0);
            writeLinkEnd(body, peer);
            body.attrU32(IFLA_NET_NS_FD, peerNamespace);
          }),
        ),
      );
    },
  };
}
