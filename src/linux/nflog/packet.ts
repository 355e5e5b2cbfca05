import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';
import { ETH_P_ARP, readArp } from '../arp/packet.ts';
import { readAttributes, readString, readU16be, readU32be } from '../netlink/attribute.ts';
import { NFGENMSG_LENGTH } from '../netlink/nfgenmsg.ts';
import {
  ETH_P_IP,
  NFULA_HWADDR,
  NFULA_IFINDEX_INDEV,
  NFULA_IFINDEX_OUTDEV,
  NFULA_IFINDEX_PHYSINDEV,
  NFULA_PACKET_HDR,
  NFULA_PAYLOAD,
  NFULA_PREFIX,
  NFULA_SEQ,
} from './constants.ts';

/** A packet as a rule logged it. Whatever stands in it, its sender wrote; only the link is certain. */
export type LoggedPacket = {
  /** the rule's, such as the name of its chain */
  readonly prefix: string;
  /** index of the link it came in on, on a bridge of the port; undefined for one that this namespace sends itself */
  readonly inLink: number | undefined;
  /** index of the bridge that `inLink` is a port of; undefined elsewhere */
  readonly inBridge: number | undefined;
  /** index of the link it is to go out on, where the rule stands behind routing */
  readonly outLink: number | undefined;
  /** source of the Ethernet frame; undefined where it came in another way */
  readonly mac: Mac | undefined;
  readonly etherType: number;
  /** In IPv4 the source, in ARP the sender; undefined in anything else, or where the packet is cut short. */
  readonly source: Ipv4 | undefined;
  /** In IPv4 the destination, in ARP the target. */
  readonly destination: Ipv4 | undefined;
  /** In ARP, the MAC address that is said to have `source`. */
  readonly claimant: Mac | undefined;
  /** In IPv4 what it carries, by the numbers of netinet/in.h. */
  readonly protocol: number | undefined;
  /** Of TCP and UDP, the destination's; undefined in a fragment that is not the first. */
  readonly port: number | undefined;
  /** In an ICMP error (RFC 792), the destination of the packet that it is about. */
  readonly quotedDestination: Ipv4 | undefined;
  /** from the network header on, as much as the log's socket and the rule ask for */
  readonly payload: Uint8Array;
  /** Grows by one with each packet of the group, also with those that are lost; unsigned 32 bits. */
  readonly sequence: number | undefined;
};

type Contents = Pick<LoggedPacket, 'source' | 'destination' | 'claimant' | 'protocol' | 'port' | 'quotedDestination'>;

const NOTHING_KNOWN: Contents = {
  source: undefined,
  destination: undefined,
  claimant: undefined,
  protocol: undefined,
  port: undefined,
  quotedDestination: undefined,
};

/** Destination unreachable, time exceeded, parameter problem: the ICMP messages that quote a packet. */
const ICMP_ERRORS: ReadonlySet<number | undefined> = new Set([3, 11, 12]);
/** netinet/in.h */
const IPPROTO = { icmp: 1, tcp: 6, udp: 17 } as const;
const FRAGMENT_OFFSET = 0x1fff;

/**
 * Reads a message of nfnetlink_log. Whatever its sender wrote into the packet, the message is read.
 *
 * @param body what follows struct nlmsghdr; nothing of the result views it
 * @throws RangeError where it is not such a message
 */
export function readLoggedPacket(body: Uint8Array): LoggedPacket {
  const attributes = readAttributes(body, NFGENMSG_LENGTH);
  // struct nfulnl_msg_packet_hdr
  const header = attributes.get(NFULA_PACKET_HDR);
  if (header === undefined) throw new RangeError('Cannot read a logged packet: it has no NFULA_PACKET_HDR');
  const index = (type: number): number | undefined => {
    const value = attributes.get(type);
    return value && readU32be(value);
  };
  const port = index(NFULA_IFINDEX_PHYSINDEV);
  const link = index(NFULA_IFINDEX_INDEV);
  const etherType = readU16be(header);
  const payload = attributes.get(NFULA_PAYLOAD)?.slice() ?? new Uint8Array();
  return {
    prefix: readString(attributes.get(NFULA_PREFIX) ?? new Uint8Array()),
    inLink: port ?? link,
    inBridge: port === undefined ? undefined : link,
    outLink: index(NFULA_IFINDEX_OUTDEV),
    mac: readMac(attributes.get(NFULA_HWADDR)),
    etherType,
    ...readContents(etherType, payload),
    payload,
    sequence: index(NFULA_SEQ),
  };
}

/** struct nfulnl_msg_packet_hw: a length, padding, eight octets */
function readMac(bytes: Uint8Array | undefined): Mac | undefined {
  if (bytes === undefined || readU16be(bytes) !== 6 || bytes.length < 10) return undefined;
  return bytes.slice(4, 10) as Mac;
}

function readContents(etherType: number, payload: Uint8Array): Contents {
  if (etherType === ETH_P_ARP) {
    const arp = readArp(payload);
    if (arp === undefined) return NOTHING_KNOWN;
    return { ...NOTHING_KNOWN, source: arp.sender, destination: arp.target, claimant: arp.senderMac };
  }
  if (etherType !== ETH_P_IP || payload.length < 20 || (payload[0] ?? 0) >>> 4 !== 4) return NOTHING_KNOWN;
  return {
    ...NOTHING_KNOWN,
    source: addressAt(payload, 12),
    destination: addressAt(payload, 16),
    protocol: payload[9],
    ...readTransport(payload),
  };
}

function readTransport(packet: Uint8Array): Partial<Contents> {
  if ((readU16be(packet.subarray(6)) & FRAGMENT_OFFSET) !== 0) return {};
  const body = packet.subarray(((packet[0] ?? 0) & 15) * 4);
  switch (packet[9]) {
    case IPPROTO.tcp:
    case IPPROTO.udp:
      return body.length < 4 ? {} : { port: readU16be(body.subarray(2)) };
    case IPPROTO.icmp:
      // eight bytes, then the header that is quoted
      return ICMP_ERRORS.has(body[0]) && body.length >= 28 ? { quotedDestination: addressAt(body, 8 + 16) } : {};
    default:
      return {};
  }
}

function addressAt(bytes: Uint8Array, at: number): Ipv4 {
  return readU32be(bytes.subarray(at)) as Ipv4;
}
