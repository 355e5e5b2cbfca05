import { type Ip, ipBits } from '../../addr/ip.ts';
import { type IpPrefix, ipPrefixAround } from '../../addr/ip-prefix.ts';
import type { Ipv4 } from '../../addr/ipv4.ts';
import { ipv6Of } from '../../addr/ipv6.ts';
import type { Link } from '../../plan/state.ts';
import type { Endpoint, SeenDevice, SeenPeer } from '../../plan/wireguard/device.ts';
import { type Key, keyOf } from '../../plan/wireguard/key.ts';
import { type Attributes, eachAttribute, readAttributes, readU16be, readU32, readU32be } from '../netlink/attribute.ts';
import { GENL_HDRLEN } from '../netlink/constants.ts';
import { writeGenlmsghdr } from '../netlink/genetlink.ts';
import type { Request } from '../netlink/socket.ts';
import { AF_INET, AF_INET6 } from '../route/constants.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from '../socket-address.ts';
import {
  WG_CMD_GET_DEVICE,
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
  WGPEER_A_LAST_HANDSHAKE_TIME,
  WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
  WGPEER_A_PRESHARED_KEY,
  WGPEER_A_PUBLIC_KEY,
  WGPEER_A_RX_BYTES,
  WGPEER_A_TX_BYTES,
} from './constants.ts';

/** A dump, of one device. */
export function getDevice(family: number, link: Link): Request {
  return {
    attempt: `read ${link.name}`,
    type: family,
    flags: 0,
    write(writer) {
      writeGenlmsghdr(writer, WG_CMD_GET_DEVICE, WG_GENL_VERSION);
      writer.attrU32(WGDEVICE_A_IFINDEX, link.index);
    },
  };
}

/** What one message of a dump says; a peer whose allowed IPs do not fit goes on in the next, with nothing but those. */
type DevicePart = {
  readonly privateKey: Key | undefined;
  readonly listenPort: number | undefined;
  readonly fwMark: number | undefined;
  readonly peers: readonly SeenPeer[];
};

/**
 * @param body what follows struct nlmsghdr; nothing of the result views it
 * @throws RangeError where it is not such a message
 */
export function readDevicePart(body: Uint8Array): DevicePart {
  const attributes = readAttributes(body, GENL_HDRLEN);
  const port = attributes.get(WGDEVICE_A_LISTEN_PORT);
  const mark = attributes.get(WGDEVICE_A_FWMARK);
  const peers = attributes.get(WGDEVICE_A_PEERS) ?? new Uint8Array();
  return {
    privateKey: readKey(attributes, WGDEVICE_A_PRIVATE_KEY),
    listenPort: port && viewOf(port).getUint16(0, true),
    fwMark: mark && readU32(mark),
    peers: [...eachAttribute(peers)].map(([, peer]) => readPeer(peer)),
  };
}

/** The device of which a dump gave these. */
export function joinParts(parts: readonly DevicePart[]): SeenDevice {
  const privateKey = parts.find((part) => part.privateKey !== undefined)?.privateKey;
  const listenPort = parts.find((part) => part.listenPort !== undefined)?.listenPort ?? 0;
  const fwMark = parts.find((part) => part.fwMark !== undefined)?.fwMark ?? 0;
  const peers = new Map<Key, SeenPeer>();
  for (const peer of parts.flatMap((part) => part.peers)) {
    const before = peers.get(peer.publicKey);
    peers.set(peer.publicKey, before === undefined ? peer : continued(before, peer));
  }
  return { ...(privateKey === undefined ? {} : { privateKey }), listenPort, fwMark, peers };
}

function continued(before: SeenPeer, more: SeenPeer): SeenPeer {
  return { ...before, allowedIps: [...before.allowedIps, ...more.allowedIps] };
}

function readPeer(bytes: Uint8Array): SeenPeer {
  const attributes = readAttributes(bytes);
  const publicKey = keyOf(attributes.get(WGPEER_A_PUBLIC_KEY) ?? new Uint8Array());
  const presharedKey = readKey(attributes, WGPEER_A_PRESHARED_KEY);
  const endpoint = readEndpoint(attributes.get(WGPEER_A_ENDPOINT));
  const keepalive = attributes.get(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL);
  const handshake = attributes.get(WGPEER_A_LAST_HANDSHAKE_TIME);
  return {
    publicKey,
    ...(presharedKey === undefined ? {} : { presharedKey }),
    ...(endpoint === undefined ? {} : { endpoint }),
    keepalive_s: keepalive === undefined ? 0 : viewOf(keepalive).getUint16(0, true),
    allowedIps: readAllowedIps(attributes.get(WGPEER_A_ALLOWEDIPS) ?? new Uint8Array()),
    lastHandshakeMs: handshake === undefined ? 0 : readTime(handshake),
    received: readU64(attributes.get(WGPEER_A_RX_BYTES)),
    sent: readU64(attributes.get(WGPEER_A_TX_BYTES)),
  };
}

function readAllowedIps(bytes: Uint8Array): IpPrefix[] {
  const allowedIps: IpPrefix[] = [];
  for (const [, value] of eachAttribute(bytes)) {
    const attributes = readAttributes(value);
    const family = viewOf(wanted(attributes, WGALLOWEDIP_A_FAMILY)).getUint16(0, true);
    const length = viewOf(wanted(attributes, WGALLOWEDIP_A_CIDR_MASK)).getUint8(0);
    const address = readAddress(family, wanted(attributes, WGALLOWEDIP_A_IPADDR));
    if (length > ipBits(address)) throw new RangeError(`Cannot read an allowed IP: it claims a length of ${length}`);
    allowedIps.push(ipPrefixAround(address, length));
  }
  return allowedIps;
}

function readAddress(family: number, bytes: Uint8Array): Ip {
  if (family === AF_INET) return readU32be(bytes) as Ipv4;
  if (family === AF_INET6) return ipv6Of(bytes);
  throw new RangeError(`Cannot read an address of the family ${family}`);
}

function wanted(attributes: Attributes, type: number): Uint8Array {
  const value = attributes.get(type);
  if (value === undefined) throw new RangeError(`Cannot read an allowed IP: it has no attribute ${type}`);
  return value;
}

/** What {@link socketAddress} writes. */
function readEndpoint(bytes: Uint8Array | undefined): Endpoint | undefined {
  if (bytes === undefined) return undefined;
  const family = viewOf(bytes).getUint16(0, true);
  const port = readU16be(bytes.subarray(2));
  if (family !== AF_INET6) return { address: readAddress(family, bytes.subarray(4, SOCKADDR_IN)), port };
  const scopeId = readU32(bytes.subarray(24, SOCKADDR_IN6));
  const address = readAddress(family, bytes.subarray(8, 24));
  return scopeId === 0 ? { address, port } : { address, port, scopeId };
}

/** @returns undefined where there is none, which may be said with zeros */
function readKey(attributes: Attributes, type: number): Key | undefined {
  const bytes = attributes.get(type);
  return bytes === undefined || (bytes.length === 32 && bytes.every((byte) => byte === 0)) ? undefined : keyOf(bytes);
}

/** ms, of struct __kernel_timespec, linux/time_types.h */
function readTime(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  return Number(view.getBigInt64(0, true)) * 1000 + Number(view.getBigInt64(8, true)) / 1e6;
}

function readU64(bytes: Uint8Array | undefined): number {
  return bytes === undefined ? 0 : Number(viewOf(bytes).getBigUint64(0, true));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
