import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Mac } from '../../addr/mac.ts';
import { ARPOP_REQUEST, type ArpFrame } from './packet.ts';

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

function request(mac: Mac, sender: Ipv4, target: Ipv4): ArpFrame {
  const packet = { operation: ARPOP_REQUEST, senderMac: mac, sender, targetMac: NO_MAC, target };
  return { destination: EVERYONE, source: mac, packet };
}
