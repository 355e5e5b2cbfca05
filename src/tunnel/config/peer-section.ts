import { formatIpPrefix, type IpPrefix } from '../../addr/ip-prefix.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import type { HostPort, PeerConfig } from './config.ts';
import { ALLOWED_IPS_MAX, PEERS_MAX } from './limits.ts';
import { refuse, refuseLine } from './refusal.ts';
import { readAllowedIp } from './values.ts';

/** An entry of `AllowedIPs`: newer wg(8) writes `+` to allow it besides what is, and `-` to take it away. */
type Entry = { readonly prefix: IpPrefix; readonly isAllowed: boolean; readonly line: number };

/** A `[Peer]` as it is being read. */
export type PeerSection = {
  readonly line: number;
  publicKey: Key | undefined;
  presharedKey: Key | 'none' | undefined;
  endpoint: HostPort | undefined;
  keepalive_s: number | undefined;
  readonly entries: Entry[];
  /** whether what an earlier section of this peer allowed is void */
  replaces: boolean;
};

export function newPeerSection(line: number): PeerSection {
  const unsaid = { publicKey: undefined, presharedKey: undefined, endpoint: undefined, keepalive_s: undefined };
  return { line, ...unsaid, entries: [], replaces: true };
}

export function readAllowedIps(section: PeerSection, text: string, line: number): void {
  const words = text.split(',');
  for (const word of words) {
    const bare = /^[+-]/.test(word) ? word.slice(1) : word;
    section.entries.push({ prefix: readAllowedIp(bare), isAllowed: !word.startsWith('-'), line });
  }
  section.replaces = words.every((word) => !/^[+-]/.test(word));
}

type Merged = Omit<PeerConfig, 'allowedIps'> & { readonly allowed: ReadonlyMap<string, Entry> };

/**
 * The peers that a device has when it is told of these sections one after the other. Of two with one key, the later one
 * is heard where both say something; what it does not say stays, but for allowed IPs, which it says anew.
 *
 * @throws InputError `tunnel_config`
 */
export function peersOf(sections: readonly PeerSection[]): PeerConfig[] {
  const peers = new Map<Key, Merged>();
  for (const section of sections) {
    const { publicKey } = section;
    if (publicKey === undefined) refuseLine(section.line, 'this [Peer] has no PublicKey; give it one');
    peers.set(publicKey, merged(publicKey, peers.get(publicKey), section));
    if (peers.size > PEERS_MAX) refuseLine(section.line, `there are more than ${PEERS_MAX} peers`);
  }
  refuseShared([...peers.values()]);
  return [...peers.values()].map(({ allowed, ...peer }) => {
    return { ...peer, allowedIps: [...allowed.values()].map(({ prefix }) => prefix) };
  });
}

function merged(publicKey: Key, former: Merged | undefined, section: PeerSection): Merged {
  const allowed = new Map(section.replaces ? [] : former?.allowed);
  for (const entry of section.entries) {
    const name = formatIpPrefix(entry.prefix);
    if (!entry.isAllowed) allowed.delete(name);
    else if (!allowed.has(name)) allowed.set(name, entry);
  }
  const presharedKey = section.presharedKey ?? former?.presharedKey;
  const endpoint = section.endpoint ?? former?.endpoint;
  return {
    publicKey,
    ...(presharedKey === undefined || presharedKey === 'none' ? {} : { presharedKey }),
    allowed,
    ...(endpoint === undefined ? {} : { endpoint }),
    keepalive_s: section.keepalive_s ?? former?.keepalive_s ?? 0,
    line: former?.line ?? section.line,
  };
}

/** A device would take it from the one and give it to the other without a word. */
function refuseShared(peers: readonly Merged[]): void {
  const owners = new Map<string, Entry>();
  for (const { allowed } of peers) {
    for (const [name, entry] of allowed) {
      const other = owners.get(name);
      owners.set(name, entry);
      if (other === undefined) continue;
      const first = Math.min(other.line, entry.line);
      const second = Math.max(other.line, entry.line);
      const why = `${name} is allowed to another peer in line ${first} already, and only one may have it; take it from one`;
      refuseLine(second, why);
    }
  }
  if (owners.size > ALLOWED_IPS_MAX) {
    refuse(`Cannot read the config: its peers have ${owners.size} allowed IPs, want at most ${ALLOWED_IPS_MAX}`);
  }
}
