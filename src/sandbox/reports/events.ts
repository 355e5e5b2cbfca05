import { formatIpv4 } from '../../addr/ipv4.ts';
import { formatMac } from '../../addr/mac.ts';
import type { Lease } from '../../ipam/lease.ts';
import type { LoggedPacket } from '../../linux/nflog/packet.ts';
import { type NewEvent, subjectOf } from '../event.ts';
import type { Claim } from './claim.ts';
import { leaseText, partyData, partyText } from './parties.ts';
import type { Told } from './tally.ts';

/**
 * Who refused: the sandbox's policy, the router that the packet was for, the host that it was for, the bridge, where ARP
 * asked for an address that is another's, or the limit on how many flows a sandbox may have.
 */
export type Refusal = {
  readonly sender: Lease;
  readonly by: 'policy' | 'router' | 'host' | 'bridge' | 'limit';
  readonly packet: LoggedPacket;
};

export type Spoof = { readonly sender: Lease; readonly claim: Claim };

/** netinet/in.h; others stand as their number */
const PROTOCOLS: ReadonlyMap<number | undefined, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
]);

export function spoofedEvent({ item, count, mixed }: Told<Spoof>): NewEvent {
  const { sender, claim } = item;
  const address = formatIpv4(claim.address);
  const mac = claim.mac && formatMac(claim.mac);
  const whose = claim.of.kind === 'nobody' ? 'which is nobody’s' : `which is that of ${partyText(claim.of)}`;
  const from = mac === undefined ? '' : `, from MAC address ${mac}`;
  const how = claim.over === 'arp' ? 'claims in ARP' : 'sends as';
  const and = mixed ? ', and as others' : '';
  return {
    type: 'sandbox.spoofed',
    message: `Stopped ${packets(count)} in which ${leaseText(sender)} ${how} ${address}, ${whose}${from}${and}`,
    ...subjectOf(sender),
    data: {
      protocol: claim.over,
      address,
      ...(mac === undefined ? {} : { mac }),
      victim: partyData(claim.of),
      count,
      mixed,
    },
  };
}

export function deniedEvent({ item, count, mixed }: Told<Refusal>): NewEvent {
  const { sender, by, packet } = item;
  const { port } = packet;
  const protocol = by === 'bridge' ? 'arp' : (PROTOCOLS.get(packet.protocol) ?? String(packet.protocol));
  const destination = packet.destination === undefined ? 'nowhere' : formatIpv4(packet.destination);
  const where = `${destination}${port === undefined ? '' : `:${port}`} (${protocol})`;
  const why = {
    policy: 'its policy does not allow it',
    router: 'it is the gateway’s',
    host: 'it is the host’s own',
    bridge: 'none on the bridge reaches another',
    limit: 'it has opened as many flows as it may have',
  }[by];
  const and = mixed ? ' and others' : '';
  return {
    type: 'sandbox.denied',
    message: `Stopped ${packets(count)} of ${leaseText(sender)} to ${where}${and}: ${why}`,
    ...subjectOf(sender),
    data: { by, protocol, destination, ...(port === undefined ? {} : { port }), count, mixed },
  };
}

function packets(count: number): string {
  // the rules report a part of what they stop
  return count === 1 ? 'a packet' : `at least ${count} packets`;
}
