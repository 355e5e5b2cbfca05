import type { Ipv4 } from '../../addr/ipv4.ts';
import { formatMac, type Mac } from '../../addr/mac.ts';
import type { Lease } from '../../ipam/lease.ts';
import { ETH_P_ARP } from '../../linux/arp/packet.ts';
import type { LoggedPacket } from '../../linux/nflog/packet.ts';
import type { Parties, Party } from './parties.ts';

/** What a sandbox took for its own and is not. */
export type Claim = {
  readonly address: Ipv4;
  readonly mac: Mac | undefined;
  readonly over: 'arp' | 'ipv4';
  /** whose it is */
  readonly of: Party;
};

/** Of a host that has no address yet (RFC 1122, 3.2.1.3): no claim. */
const NO_ADDRESS = 0;

/**
 * What a packet claims that a sandbox sent and anti-spoof stopped. An address speaks louder than a MAC address: it says
 * whom the sandbox wants to be.
 *
 * @returns undefined where it claims nothing of another's: what a sandbox sends in its own name while it is let in or
 *   cut off is stopped too
 */
export function claimIn(packet: LoggedPacket, sender: Lease, parties: Parties): Claim | undefined {
  const own = parties.rightsOf(sender);
  const over = packet.etherType === ETH_P_ARP ? 'arp' : 'ipv4';
  const macs = [packet.claimant, packet.mac].filter((mac) => mac !== undefined);
  const mac = macs.find((one) => formatMac(one) !== formatMac(own.mac));
  // an error that quotes a packet says that the sender had got it
  const address = [packet.source, packet.quotedDestination].find(
    (one) => one !== undefined && one !== NO_ADDRESS && one !== own.address,
  );
  const byAddress = address === undefined ? undefined : parties.at(address);
  const byMac = mac === undefined ? undefined : parties.withMac(mac);
  const claim = (of: Party): Claim => ({ address: address ?? own.address, mac: mac ?? packet.mac, over, of });
  for (const party of [byAddress, byMac]) {
    if (party !== undefined && party.kind !== 'nobody' && !isSame(party, sender)) return claim(party);
  }
  // Its other address, such as the one on its own cable, is nobody else's.
  const isOthers = byAddress?.kind === 'nobody' || byMac?.kind === 'nobody';
  return isOthers ? claim({ kind: 'nobody' }) : undefined;
}

function isSame(one: Party, { slot }: Lease): boolean {
  return one.kind === 'sandbox' && one.lease.slot === slot;
}
