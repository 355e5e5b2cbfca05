import type { Ipv4 } from '../../addr/ipv4.ts';
import { formatMac, type Mac } from '../../addr/mac.ts';
import { ARPOP_REQUEST, type ArpFrame, type ArpPacket } from './packet.ts';

const EVERYONE = new Uint8Array(6).fill(0xff) as Mac;
const NO_MAC = new Uint8Array(6) as Mac;
const NO_ADDRESS = 0 as Ipv4;

/** Asks whether anybody has the address, without claiming it: RFC 5227, 1.1. */
export function probe(mac: Mac, address: Ipv4): ArpFrame {
  return request(mac, NO_ADDRESS, address);
}

/** Says that the address is at this MAC address from now on, so that neighbours forget what they knew: RFC 5227, 2.3. */
export function announcement(mac: Mac, address: Ipv4): ArpFrame {
  return request(mac, address, address);
}

/**
 * The address that the packet speaks for (RFC 5227, 2.1.1): any packet for its sender's, and a probe for the one that
 * it asks for, unless the probe is our own.
 */
export function claimedAddress({ operation, sender, senderMac, target }: ArpPacket, own: Mac): Ipv4 | undefined {
  if (sender !== NO_ADDRESS) return sender;
  const isRival = operation === ARPOP_REQUEST && formatMac(senderMac) !== formatMac(own);
  return isRival ? target : undefined;
}

function request(mac: Mac, sender: Ipv4, target: Ipv4): ArpFrame {
  const packet = { operation: ARPOP_REQUEST, senderMac: mac, sender, targetMac: NO_MAC, target };
  return { destination: EVERYONE, source: mac, packet };
}
