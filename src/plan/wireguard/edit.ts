import { formatIpPrefix, type IpPrefix } from '../../addr/ip-prefix.ts';
import type { Device, Endpoint, Peer, SeenDevice, SeenPeer } from './device.ts';
import { formatEndpoint, sameEndpoint } from './endpoint.ts';
import type { Key } from './key.ts';

/** What of a peer is to be set; what is absent stays as it is. */
export type PeerSettings = {
  readonly publicKey: Key;
  /** `none` takes away the one that it has */
  readonly presharedKey?: Key | 'none';
  readonly endpoint?: Endpoint;
  readonly keepalive_s?: number;
  /** all that it is to have */
  readonly allowedIps?: readonly IpPrefix[];
};

/** The least that can be said to a device: one message, or a few of its lines. */
export type Edit =
  | {
      readonly verb: 'set';
      readonly privateKey?: Key;
      /** 0 has it choose another one */
      readonly listenPort?: number;
      /** 0 for none */
      readonly fwMark?: number;
    }
  /** nothing where there is such a peer: then it is changed */
  | { readonly verb: 'add'; readonly peer: PeerSettings }
  /** nothing where there is none: it is not made */
  | { readonly verb: 'change'; readonly peer: PeerSettings }
  | { readonly verb: 'remove'; readonly publicKey: Key };

/** A handshake is done again every two minutes while something is sent; after three the session is no more (WireGuard, 6.1). */
const SESSION_MS = 180_000;

/**
 * What has to be said to a device so that it is as it should be; nothing where it is. Removals come first: what a peer
 * has allowed would otherwise be taken from it by the next.
 *
 * A peer that is heard from somewhere else than it was said to be is left there while its session lives.
 *
 * @param nowMs since the epoch
 */
export function edits(seen: SeenDevice, desired: Device, nowMs: number): Edit[] {
  const { privateKey, listenPort = seen.listenPort, fwMark = 0, peers } = desired;
  const result: Edit[] = [];
  const kept: Edit[] = [];
  if (seen.privateKey !== privateKey || seen.listenPort !== listenPort || seen.fwMark !== fwMark) {
    result.push({
      verb: 'set',
      ...(seen.privateKey === privateKey ? {} : { privateKey }),
      ...(seen.listenPort === listenPort ? {} : { listenPort }),
      ...(seen.fwMark === fwMark ? {} : { fwMark }),
    });
  }
  let foundCount = 0;
  for (const peer of peers.values()) {
    const found = seen.peers.get(peer.publicKey);
    if (found === undefined) kept.push({ verb: 'add', peer: allOf(peer) });
    else {
      foundCount++;
      const change = differing(found, peer, nowMs);
      if (change !== undefined) kept.push({ verb: 'change', peer: change });
    }
  }
  // mostly there is none to look for
  if (foundCount < seen.peers.size) {
    for (const publicKey of seen.peers.keys()) if (!peers.has(publicKey)) result.push({ verb: 'remove', publicKey });
  }
  return [...result, ...kept];
}

/** What brings one peer that was as `former` says to `peer`; undefined where they are the same. */
export function peerEdit(former: Peer | undefined, peer: Peer): Edit | undefined {
  if (former === undefined) return { verb: 'add', peer: allOf(peer) };
  const change = changeOf(former, peer, !sameEndpoint(former.endpoint, peer.endpoint));
  return change === undefined ? undefined : { verb: 'change', peer: change };
}

/** In the words of wg(8), but for keys, of which it shows the public ones. */
export function editText(device: string, edit: Edit): string {
  switch (edit.verb) {
    case 'set': {
      const words = [
        ...(edit.listenPort === undefined ? [] : [`listen-port ${edit.listenPort}`]),
        ...(edit.fwMark === undefined ? [] : [`fwmark ${edit.fwMark === 0 ? 'off' : `0x${edit.fwMark.toString(16)}`}`]),
        ...(edit.privateKey === undefined ? [] : ['private-key (hidden)']),
      ];
      return `wg set ${device} ${words.join(' ')}`;
    }
    case 'remove':
      return `wg set ${device} peer ${edit.publicKey} remove`;
    case 'add':
    case 'change':
      return `wg set ${device} peer ${settingsText(edit.peer)}`;
  }
}

function settingsText({ publicKey, presharedKey, endpoint, keepalive_s, allowedIps }: PeerSettings): string {
  const words: string[] = [publicKey];
  if (presharedKey !== undefined) words.push(`preshared-key ${presharedKey === 'none' ? '/dev/null' : '(hidden)'}`);
  if (endpoint !== undefined) words.push(`endpoint ${formatEndpoint(endpoint)}`);
  if (keepalive_s !== undefined) words.push(`persistent-keepalive ${keepalive_s === 0 ? 'off' : keepalive_s}`);
  if (allowedIps !== undefined) words.push(`allowed-ips ${allowedIps.map(formatIpPrefix).join(',')}`);
  return words.join(' ');
}

function allOf({ publicKey, presharedKey, endpoint, keepalive_s, allowedIps }: Peer): PeerSettings {
  return {
    publicKey,
    ...(presharedKey === undefined ? {} : { presharedKey }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(keepalive_s === 0 ? {} : { keepalive_s }),
    allowedIps,
  };
}

function differing(found: SeenPeer, peer: Peer, nowMs: number): PeerSettings | undefined {
  const isElsewhere = !isAt(found.endpoint, peer.endpoint);
  const isHeard = found.endpoint !== undefined && nowMs - found.lastHandshakeMs < SESSION_MS;
  return changeOf(found, peer, isElsewhere && !isHeard);
}

/** wireguard-go uses the link that it is told, and does not tell it. */
function isAt(found: Endpoint | undefined, wanted: Endpoint | undefined): boolean {
  if (found === undefined || wanted?.scopeId === undefined) return sameEndpoint(found, wanted);
  return sameEndpoint({ scopeId: wanted.scopeId, ...found }, wanted);
}

function changeOf(former: Peer, peer: Peer, isMoved: boolean): PeerSettings | undefined {
  const { publicKey, presharedKey, endpoint, keepalive_s, allowedIps } = peer;
  // most are as they should be
  const isSame = former.presharedKey === presharedKey && former.keepalive_s === keepalive_s;
  if (isSame && !(isMoved && endpoint !== undefined) && samePrefixes(former.allowedIps, allowedIps)) return undefined;
  const change = {
    ...(former.presharedKey === presharedKey ? {} : { presharedKey: presharedKey ?? ('none' as const) }),
    // one that it has cannot be taken away, and need not be
    ...(isMoved && endpoint !== undefined ? { endpoint } : {}),
    ...(former.keepalive_s === keepalive_s ? {} : { keepalive_s }),
    ...(samePrefixes(former.allowedIps, allowedIps) ? {} : { allowedIps }),
  };
  return Object.keys(change).length === 0 ? undefined : { publicKey, ...change };
}

function samePrefixes(one: readonly IpPrefix[], other: readonly IpPrefix[]): boolean {
  if (one.length !== other.length) return false;
  // the kernel lists them in an order of its own
  if (one.every((prefix, index) => samePrefix(prefix, other[index]))) return true;
  const texts = new Set(one.map(formatIpPrefix));
  return other.every((prefix) => texts.has(formatIpPrefix(prefix)));
}

function samePrefix(one: IpPrefix, other: IpPrefix | undefined): boolean {
  return one.address === other?.address && one.length === other.length;
}
