import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';

/** linux/if_arp.h */
const ARPHRD_ETHER = 1;
export const ARPOP_REQUEST = 1;
/** linux/if_ether.h */
const ETH_P_IP = 0x0800;
export const ETH_P_ARP = 0x0806;

const MAC_LENGTH = 6;
const IPV4_LENGTH = 4;
const ARP_LENGTH = 28;
const ETHER_LENGTH = 14;

/** ARP for IPv4 over Ethernet (RFC 826). */
export type ArpPacket = {
  /** 1 asks, 2 answers */
  readonly operation: number;
  readonly senderMac: Mac;
  readonly sender: Ipv4;
  readonly targetMac: Mac;
  readonly target: Ipv4;
};

export type ArpFrame = { readonly destination: Mac; readonly source: Mac; readonly packet: ArpPacket };

/** @returns undefined where it is something else, or too short; what comes after the packet is padding */
export function readArp(bytes: Uint8Array): ArpPacket | undefined {
  if (bytes.length < ARP_LENGTH) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(0) !== ARPHRD_ETHER || view.getUint16(2) !== ETH_P_IP) return undefined;
  if (view.getUint8(4) !== MAC_LENGTH || view.getUint8(5) !== IPV4_LENGTH) return undefined;
  return {
    operation: view.getUint16(6),
    senderMac: macAt(bytes, 8),
    sender: view.getUint32(14) as Ipv4,
    targetMac: macAt(bytes, 18),
    target: view.getUint32(24) as Ipv4,
  };
}

/** @returns undefined where it is not an Ethernet frame with ARP for IPv4 */
export function readArpFrame(bytes: Uint8Array): ArpFrame | undefined {
  if (bytes.length < ETHER_LENGTH) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(12) !== ETH_P_ARP) return undefined;
  const packet = readArp(bytes.subarray(ETHER_LENGTH));
  return packet && { destination: macAt(bytes, 0), source: macAt(bytes, MAC_LENGTH), packet };
}

/** An Ethernet frame without padding, which a driver adds where its wire wants it. */
export function writeArpFrame({ destination, source, packet }: ArpFrame): Uint8Array {
  const bytes = new Uint8Array(ETHER_LENGTH + ARP_LENGTH);
  const view = new DataView(bytes.buffer);
  bytes.set(destination, 0);
  bytes.set(source, MAC_LENGTH);
  view.setUint16(12, ETH_P_ARP);
  view.setUint16(14, ARPHRD_ETHER);
  view.setUint16(16, ETH_P_IP);
  view.setUint8(18, MAC_LENGTH);
  view.setUint8(19, IPV4_LENGTH);
  view.setUint16(20, packet.operation);
  bytes.set(packet.senderMac, 22);
  view.setUint32(28, packet.sender);
  bytes.set(packet.targetMac, 32);
  view.setUint32(38, packet.target);
  return bytes;
}

function macAt(bytes: Uint8Array, at: number): Mac {
  return bytes.slice(at, at + MAC_LENGTH) as Mac;
}
