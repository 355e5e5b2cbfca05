import type { LinkEnd } from '../../plan/state.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import {
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_NET_NS_FD,
  IFLA_NUM_RX_QUEUES,
  IFLA_NUM_TX_QUEUES,
  VETH_INFO_PEER,
} from './constants.ts';
import { CREATE_LINK, writeLinkEnd, writeLinkHeader } from './link.ts';

/**
 * Both ends at once and down, the peer born in the namespace behind `peerNamespace` (a descriptor).
 *
 * They use one queue each, however many they have. Where that is not said, the kernel gives each end as many as there
 * are processors, then takes all but one out of use, and waits for a grace period at each end while it holds the lock
 * that everybody needs.
 */
export function newVeth(near: LinkEnd, peer: LinkEnd, peerNamespace: number): Request {
  return {
    ...CREATE_LINK,
    attempt: `add link ${near.link.name} with peer ${peer.link.name} in ${peer.namespace}`,
    write(writer) {
      writeLinkHeader(writer, near.link.index, 0, 0);
      writeEnd(writer, near);
      writer.nest(IFLA_LINKINFO, (info) =>
        info.attrString(IFLA_INFO_KIND, 'veth').nest(IFLA_INFO_DATA, (data) =>
          data.nest(VETH_INFO_PEER, (body) => {
            writeLinkHeader(body, peer.link.index, 0, 0);
            writeEnd(body, peer);
            body.attrU32(IFLA_NET_NS_FD, peerNamespace);
          }),
        ),
      );
    },
  };
}

function writeEnd(writer: MessageWriter, end: LinkEnd): void {
  writeLinkEnd(writer, end);
  writer.attrU32(IFLA_NUM_TX_QUEUES, 1).attrU32(IFLA_NUM_RX_QUEUES, 1);
}
