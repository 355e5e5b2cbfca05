import type { Link } from '../../plan/state.ts';
import { readAttributes, readString } from '../netlink/attribute.ts';
import { NLA_F_NESTED } from '../netlink/constants.ts';
import type { NetlinkSocket, Request } from '../netlink/socket.ts';
import {
  AF_BRIDGE,
  IFF_RUNNING,
  IFLA_BRPORT_ISOLATED,
  IFLA_BRPORT_LEARNING,
  IFLA_BRPORT_NEIGH_SUPPRESS,
  IFLA_EXT_MASK,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_PROTINFO,
  RTEXT_FILTER_SKIP_STATS,
  RTM_GETLINK,
  RTM_NEWLINK,
  RTM_SETLINK,
} from './constants.ts';
import { CREATE_LINK, writeLinkHeader } from './link.ts';

/** A link that is a port of a bridge, and whether it is up and has somebody at its other end. */
export type Port = { readonly link: Link; readonly isRunning: boolean };

/** Every port of the bridge with this index, as a dump that leaves all other links out. */
export function listPorts(socket: NetlinkSocket, bridge: number): Port[] {
  const request: Request = {
    attempt: `list the ports of link ${bridge}`,
    type: RTM_GETLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, 0, 0, 0);
      writer.attrU32(IFLA_MASTER, bridge).attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    },
  };
  return socket.dump(request, ({ body }) => {
    // struct ifinfomsg, 16 bytes
    const header = new DataView(body.buffer, body.byteOffset, body.length);
    const name = readString(readAttributes(body, 16).get(IFLA_IFNAME) ?? new Uint8Array());
    return {
      link: { name, index: header.getInt32(4, true) },
      isRunning: (header.getUint32(8, true) & IFF_RUNNING) !== 0,
    };
  });
}

export function newBridge(link: Link): Request {
  return {
    ...CREATE_LINK,
    attempt: `add bridge ${link.name}`,
    write(writer) {
      writeLinkHeader(writer, link.index, 0, 0);
      writer.attrString(IFLA_IFNAME, link.name);
      writer.nest(IFLA_LINKINFO, (info) => info.attrString(IFLA_INFO_KIND, 'bridge'));
    },
  };
}

/** Makes a link a port of the bridge with this index; 0 takes it out of any. */
export function setMaster(link: Link, bridge: number): Request {
  return {
    attempt: `set master of ${link.name} to link ${bridge}`,
    type: RTM_NEWLINK,
    flags: 0,
    write(writer) {
      writeLinkHeader(writer, link.index, 0, 0);
      writer.attrU32(IFLA_MASTER, bridge);
    },
  };
}

/**
 * Frames do not pass from one isolated port to another; without learning, a forged source address moves nothing. ARP
 * that everybody is to hear, probes and announcements (RFC 5227), passes by the port: a sandbox learns nothing of the
 * others by it, and a bridge of many ports does not copy each to all of them.
 */
export function isolatePort(link: Link): Request {
  return {
    attempt: `isolate port ${link.name}`,
    type: RTM_SETLINK,
    flags: 0,
    write(writer) {
      writer.u8(AF_BRIDGE).u8(0).u16(0).u32(link.index).u32(0).u32(0);
      // Without the nested flag the bridge reads the attribute as a bare port state.
      writer.nest(IFLA_PROTINFO | NLA_F_NESTED, (port) =>
        port.attrU8(IFLA_BRPORT_LEARNING, 0).attrU8(IFLA_BRPORT_ISOLATED, 1).attrU8(IFLA_BRPORT_NEIGH_SUPPRESS, 1),
      );
    },
  };
}
