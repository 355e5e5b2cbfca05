import { ipBytes, isIpv6 } from '../../addr/ip.ts';
import type { IpPrefix } from '../../addr/ip-prefix.ts';
import type { Link } from '../../plan/state.ts';
import { keyBytes } from '../../plan/wireguard/key.ts';
import { NLA_F_NESTED } from '../netlink/constants.ts';
import { writeGenlmsghdr } from '../netlink/genetlink.ts';
import type { MessageWriter } from '../netlink/message.ts';
import type { Request } from '../netlink/socket.ts';
import { AF_INET, AF_INET6 } from '../route/constants.ts';
import { socketAddress } from '../socket-address.ts';
import {
  WG_CMD_SET_DEVICE,
  WG_GENL_VERSION,
  WGALLOWEDIP_A_CIDR_MASK,
  WGALLOWEDIP_A_FAMILY,
  WGALLOWEDIP_A_IPADDR,
  WGDEVICE_A_FWMARK,
  WGDEVICE_A_IFINDEX,
  WGDEVICE_A_LISTEN_PORT,
  WGDEVICE_A_PEERS,
  WGDEVICE_A_PRIVATE_KEY,
  WGPEER_A_ALLOWEDIPS,
  WGPEER_A_ENDPOINT,
  WGPEER_A_FLAGS,
  WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
  WGPEER_A_PRESHARED_KEY,
  WGPEER_A_PUBLIC_KEY,
} from './constants.ts';
import type { PeerPart, Portion } from './portion.ts';

/** The key that takes a key away. */
const NO_KEY = new Uint8Array(32);

/** Says a portion to a device. What it does not mention stays, other peers too: WGDEVICE_F_REPLACE_PEERS is never said. */
export function setDevice(family: number, link: Link, portion: Portion): Request {
  const { privateKey, listenPort, fwMark, peers } = portion;
  return {
    attempt: `set ${link.name}`,
    type: family,
    flags: 0,
    write(writer) {
      writeGenlmsghdr(writer, WG_CMD_SET_DEVICE, WG_GENL_VERSION);
      writer.attrU32(WGDEVICE_A_IFINDEX, link.index);
      if (privateKey !== undefined) writer.attr(WGDEVICE_A_PRIVATE_KEY, keyBytes(privateKey));
      if (listenPort !== undefined) writer.attrU16(WGDEVICE_A_LISTEN_PORT, listenPort);
      if (fwMark !== undefined) writer.attrU32(WGDEVICE_A_FWMARK, fwMark);
      if (peers.length === 0) return;
      writer.nest(WGDEVICE_A_PEERS | NLA_F_NESTED, (list) => {
        for (const peer of peers) list.nest(NLA_F_NESTED, () => writePeer(list, peer));
      });
    },
  };
}

function writePeer(writer: MessageWriter, peer: PeerPart): void {
  const { publicKey, flags, presharedKey, endpoint, keepalive_s, allowedIps = [] } = peer;
  writer.attr(WGPEER_A_PUBLIC_KEY, keyBytes(publicKey)).attrU32(WGPEER_A_FLAGS, flags);
  if (presharedKey !== undefined) {
    writer.attr(WGPEER_A_PRESHARED_KEY, presharedKey === 'none' ? NO_KEY : keyBytes(presharedKey));
  }
  if (endpoint !== undefined) {
    const { address, port, scopeId } = endpoint;
    writer.attr(WGPEER_A_ENDPOINT, socketAddress(address, port, scopeId));
  }
  if (keepalive_s !== undefined) writer.attrU16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, keepalive_s);
  if (allowedIps.length === 0) return;
  writer.nest(WGPEER_A_ALLOWEDIPS | NLA_F_NESTED, (list) => {
    for (const prefix of allowedIps) list.nest(NLA_F_NESTED, () => writeAllowedIp(list, prefix));
  });
}

function writeAllowedIp(writer: MessageWriter, { address, length }: IpPrefix): void {
  writer.attrU16(WGALLOWEDIP_A_FAMILY, isIpv6(address) ? AF_INET6 : AF_INET);
  if (isIpv6(address)) writer.attr(WGALLOWEDIP_A_IPADDR, ipBytes(address));
  else writer.attrU32be(WGALLOWEDIP_A_IPADDR, address);
  writer.attrU8(WGALLOWEDIP_A_CIDR_MASK, length);
}
