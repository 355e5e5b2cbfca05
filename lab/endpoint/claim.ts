import { parseIpv4 } from '../../src/addr/ipv4.ts';
import { parseMac } from '../../src/addr/mac.ts';
import { announcement } from '../../src/linux/arp/claim.ts';
import { ArpSocket } from '../../src/linux/arp/socket.ts';
import type { Order } from './protocol.ts';

/** Says by ARP, unasked, that an address is at a MAC address. */
export function claim({ address, link, mac }: Extract<Order, { do: 'claim' }>): void {
  using socket = new ArpSocket(link);
  socket.send(announcement(parseMac(mac), parseIpv4(address)));
}
