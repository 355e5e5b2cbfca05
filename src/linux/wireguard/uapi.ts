import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts';
import { formatPrefix, type Prefix, parsePrefix } from '../../addr/prefix.ts';
import type { Endpoint, SeenDevice, SeenPeer } from '../../plan/wireguard/device.ts';
import type { Edit, PeerSettings } from '../../plan/wireguard/edit.ts';
import { type Key, keyHex, keyOfHex } from '../../plan/wireguard/key.ts';

/* The cross-platform user-space interface, lines of `key=value` that end with an empty one: wireguard.com/xplatform. */

export const GET = 'get=1\n\n';

const NO_KEY = '0'.repeat(64);

export function setText(edits: readonly Edit[]): string {
  // a device's own lines come before those of any peer
  const own = edits.filter(({ verb }) => verb === 'set');
  const peers = edits.filter(({ verb }) => verb !== 'set');
  return `set=1\n${[...own, ...peers].flatMap(linesOf).join('\n')}\n\n`;
}

/**
 * What a device answers to {@link GET}, without its last line, which is `errno`.
 *
 * @throws RangeError where it is not as the interface says
 */
export function readDevice(text: string): SeenDevice {
  let privateKey: Key | undefined;
  let listenPort = 0;
  const peers = new Map<Key, SeenPeer>();
  let peer: Draft | undefined;
  const close = (): void => {
    if (peer !== undefined) peers.set(peer.publicKey, finish(peer));
  };
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at < 0) continue;
    const name = line.slice(0, at);
    const value = line.slice(at + 1);
    if (name === 'public_key') {
      close();
      peer = draft(keyOfHex(value));
    } else if (peer !== undefined) readPeerLine(peer, name, value);
    else if (name === 'private_key' && value !== NO_KEY) privateKey = keyOfHex(value);
    else if (name === 'listen_port') listenPort = Number(value);
  }
  close();
  return { ...(privateKey === undefined ? {} : { privateKey }), listenPort, peers };
}

type Draft = {
  readonly publicKey: Key;
  presharedKey: Key | undefined;
  endpoint: Endpoint | undefined;
  keepalive_s: number;
  readonly allowedIps: Prefix[];
  foreignIps: number;
  seconds: number;
  nanoseconds: number;
  received: number;
  sent: number;
};

function draft(publicKey: Key): Draft {
  return {
    publicKey,
    presharedKey: undefined,
    endpoint: undefined,
    keepalive_s: 0,
    allowedIps: [],
    foreignIps: 0,
    seconds: 0,
    nanoseconds: 0,
    received: 0,
    sent: 0,
  };
}

function readPeerLine(peer: Draft, name: string, value: string): void {
  switch (name) {
    case 'preshared_key':
      if (value !== NO_KEY) peer.presharedKey = keyOfHex(value);
      break;
    case 'endpoint':
      peer.endpoint = readEndpoint(value);
      break;
    case 'persistent_keepalive_interval':
      peer.keepalive_s = Number(value);
      break;
    case 'allowed_ip':
      if (value.includes(':')) peer.foreignIps++;
      else peer.allowedIps.push(parsePrefix(value));
      break;
    case 'last_handshake_time_sec':
      peer.seconds = Number(value);
      break;
    case 'last_handshake_time_nsec':
      peer.nanoseconds = Number(value);
      break;
    case 'rx_bytes':
      peer.received = Number(value);
      break;
    case 'tx_bytes':
      peer.sent = Number(value);
      break;
  }
}

function finish({ presharedKey, endpoint, seconds, nanoseconds, ...peer }: Draft): SeenPeer {
  return {
    ...peer,
    ...(presharedKey === undefined ? {} : { presharedKey }),
    ...(endpoint === undefined ? {} : { endpoint }),
    lastHandshakeMs: seconds * 1000 + nanoseconds / 1e6,
  };
}

/** @returns undefined for IPv6, which nobody here sets */
function readEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith('[')) return undefined;
  const [address = '', port = ''] = text.split(':');
  return { address: parseIpv4(address), port: Number(port) };
}

function linesOf(edit: Edit): string[] {
  switch (edit.verb) {
    case 'set':
      return [
        ...(edit.privateKey === undefined ? [] : [`private_key=${keyHex(edit.privateKey)}`]),
        ...(edit.listenPort === undefined ? [] : [`listen_port=${edit.listenPort}`]),
      ];
    case 'remove':
      return [`public_key=${keyHex(edit.publicKey)}`, 'remove=true'];
    case 'add':
      return peerLines(edit.peer, []);
    case 'change':
      return peerLines(edit.peer, ['update_only=true']);
  }
}

function peerLines(peer: PeerSettings, how: readonly string[]): string[] {
  const { publicKey, presharedKey, endpoint, keepalive_s, allowedIps } = peer;
  const lines = [`public_key=${keyHex(publicKey)}`, ...how];
  if (presharedKey !== undefined)
    lines.push(`preshared_key=${presharedKey === 'none' ? NO_KEY : keyHex(presharedKey)}`);
  if (endpoint !== undefined) lines.push(`endpoint=${formatIpv4(endpoint.address)}:${endpoint.port}`);
  if (keepalive_s !== undefined) lines.push(`persistent_keepalive_interval=${keepalive_s}`);
  if (allowedIps !== undefined) {
    lines.push('replace_allowed_ips=true', ...allowedIps.map((prefix) => `allowed_ip=${formatPrefix(prefix)}`));
  }
  return lines;
}
