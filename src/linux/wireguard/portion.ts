import { isIpv6 } from '../../addr/ip.ts';
import type { IpPrefix } from '../../addr/ip-prefix.ts';
import type { Edit, PeerSettings } from '../../plan/wireguard/edit.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { SOCKADDR_IN, SOCKADDR_IN6 } from '../socket-address.ts';
import { WGPEER_F_REMOVE_ME, WGPEER_F_REPLACE_ALLOWEDIPS, WGPEER_F_UPDATE_ONLY } from './constants.ts';

/** What one message says of a peer. */
export type PeerPart = PeerSettings & {
  /** WGPEER_F_* */
  readonly flags: number;
};

/** What one message says to a device. */
export type Portion = {
  readonly privateKey?: Key;
  readonly listenPort?: number;
  readonly fwMark?: number;
  readonly peers: readonly PeerPart[];
};

/** bytes: the length of an attribute, its header's too, has 16 bits; all that stands in it is padded to four */
const PEERS_MAX = 0xfffc - 4;

/** bytes, each with its header and padded */
const NEST = 4;
const KEY = 36;
const FLAGS = 8;
const ENDPOINT = { ipv4: 4 + SOCKADDR_IN, ipv6: 4 + SOCKADDR_IN6 };
const KEEPALIVE = 8;
/** a nest of a family, an address and a length */
const ALLOWED_IP = { ipv4: NEST + 8 + 8 + 8, ipv6: NEST + 8 + 20 + 8 };

/** bytes of allowed IPs that a message has room for, whatever else it says of their peer */
const ALLOWED_IPS_MAX = PEERS_MAX - (2 * NEST + 2 * KEY + FLAGS + ENDPOINT.ipv6 + KEEPALIVE);

/**
 * All edits in their order, in as few messages as hold them. A device takes what is its own before the peers of the same
 * message. A peer that has more allowed IPs than a message holds gets them by and by.
 */
export function portionsOf(edits: readonly Edit[]): Portion[] {
  const portions: Portion[] = [];
  let own: Omit<Portion, 'peers'> = {};
  let peers: PeerPart[] = [];
  let size = 0;
  const finish = (): void => {
    portions.push({ ...own, peers });
    own = {};
    peers = [];
    size = 0;
  };
  for (const edit of edits) {
    if (edit.verb === 'set') {
      if (peers.length > 0) finish();
      const { verb: _, ...settings } = edit;
      own = { ...own, ...settings };
      continue;
    }
    for (const part of partsOf(edit)) {
      const more = partSize(part);
      if (size + more > PEERS_MAX) finish();
      peers.push(part);
      size += more;
    }
  }
  if (peers.length > 0 || Object.keys(own).length > 0) finish();
  return portions;
}

/** bytes that it takes among the peers of a message */
function partSize({ presharedKey, endpoint, keepalive_s, allowedIps = [] }: PeerPart): number {
  let size = NEST + KEY + FLAGS;
  if (presharedKey !== undefined) size += KEY;
  if (endpoint !== undefined) size += isIpv6(endpoint.address) ? ENDPOINT.ipv6 : ENDPOINT.ipv4;
  if (keepalive_s !== undefined) size += KEEPALIVE;
  if (allowedIps.length > 0) size += NEST;
  for (const allowedIp of allowedIps) size += allowedIpSize(allowedIp);
  return size;
}

function allowedIpSize({ address }: IpPrefix): number {
  return isIpv6(address) ? ALLOWED_IP.ipv6 : ALLOWED_IP.ipv4;
}

function partsOf(edit: Exclude<Edit, { verb: 'set' }>): PeerPart[] {
  if (edit.verb === 'remove') return [{ publicKey: edit.publicKey, flags: WGPEER_F_REMOVE_ME }];
  const { peer } = edit;
  const { publicKey, allowedIps } = peer;
  const how = edit.verb === 'change' ? WGPEER_F_UPDATE_ONLY : 0;
  if (allowedIps === undefined) return [{ ...peer, flags: how }];
  const [first = [], ...others] = pieces(allowedIps);
  return [
    { ...peer, flags: how | WGPEER_F_REPLACE_ALLOWEDIPS, allowedIps: first },
    // it is there by now, unless there was none to change
    ...others.map((some): PeerPart => ({ publicKey, flags: WGPEER_F_UPDATE_ONLY, allowedIps: some })),
  ];
}

/** Each as long as a message has room for. */
function pieces(prefixes: readonly IpPrefix[]): (readonly IpPrefix[])[] {
  const result: (readonly IpPrefix[])[] = [];
  let [begin, size] = [0, 0];
  for (const [index, prefix] of prefixes.entries()) {
    size += allowedIpSize(prefix);
    if (size <= ALLOWED_IPS_MAX) continue;
    result.push(prefixes.slice(begin, index));
    [begin, size] = [index, allowedIpSize(prefix)];
  }
  result.push(prefixes.slice(begin));
  return result;
}
