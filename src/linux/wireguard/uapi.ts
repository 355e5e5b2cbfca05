import { formatIpPrefix, type IpPrefix, parseIpPrefix } from '../../addr/ip-prefix.ts';
import type { Endpoint, SeenDevice, SeenPeer } from '../../plan/wireguard/device.ts';
import type { Edit, PeerSettings } from '../../plan/wireguard/edit.ts';
import { formatEndpoint, parseEndpoint } from '../../plan/wireguard/endpoint.ts';
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
  let fwMark = 0;
  const peers = new Map<Key, SeenPeer>();
  let peer: Draft | undefined;
  // Five thousand peers have fifty thousand lines, and most of them say what need not be cut out.
  for (let at = 0; at < text.length; ) {
    const found = text.indexOf('\n', at);
    const end = found < 0 ? text.length : found;
    const equals = text.indexOf('=', at);
    if (equals >= 0 && equals < end && !isNothing(text, equals, end)) {
      const value = text.slice(equals + 1, end);
      if (isName(text, at, equals, 'public_key')) {
        if (peer !== undefined) peers.set(peer.publicKey, finish(peer));
        peer = draft(publicKeyOf(value));
      } else if (peer !== undefined) readPeerLine(peer, text, at, equals, value);
      else if (isName(text, at, equals, 'private_key')) privateKey = keyOfHex(value);
      else if (isName(text, at, equals, 'listen_port')) listenPort = Number(value);
      else if (isName(text, at, equals, 'fwmark')) fwMark = Number(value);
    }
    at = end + 1;
  }
  if (peer !== undefined) peers.set(peer.publicKey, finish(peer));
  return { privateKey, listenPort, fwMark, peers };
}

/** A number or a key of which every digit is 0: what is not said is the same. */
function isNothing(text: string, equals: number, end: number): boolean {
  const length = end - equals - 1;
  if (length === 1) return text.charCodeAt(equals + 1) === ZERO;
  return length === NO_KEY.length && text.startsWith(NO_KEY, equals + 1);
}

/** the digit 0 */
const ZERO = 48;

function isName(text: string, at: number, equals: number, name: string): boolean {
  return equals - at === name.length && text.startsWith(name, at);
}

/** What was read before is mostly read again. */
const REMEMBERED_MAX = 16_384;

function remembering<Value>(read: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, Value>();
  return (text) => {
    let value = known.get(text);
    if (value === undefined) {
      value = read(text);
      if (known.size >= REMEMBERED_MAX) known.clear();
      known.set(text, value);
    }
    return value;
  };
}

const publicKeyOf = remembering(keyOfHex);
const allowedIp = remembering(parseIpPrefix);
const endpointOf = remembering(parseEndpoint);

type Draft = {
  readonly publicKey: Key;
  presharedKey: Key | undefined;
  endpoint: Endpoint | undefined;
  keepalive_s: number;
  readonly allowedIps: IpPrefix[];
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
    seconds: 0,
    nanoseconds: 0,
    received: 0,
    sent: 0,
  };
}

function readPeerLine(peer: Draft, text: string, at: number, equals: number, value: string): void {
  const is = (name: string): boolean => isName(text, at, equals, name);
  if (is('allowed_ip')) peer.allowedIps.push(allowedIp(value));
  else if (is('endpoint')) peer.endpoint = endpointOf(value);
  else if (is('last_handshake_time_sec')) peer.seconds = Number(value);
  else if (is('last_handshake_time_nsec')) peer.nanoseconds = Number(value);
  else if (is('rx_bytes')) peer.received = Number(value);
  else if (is('tx_bytes')) peer.sent = Number(value);
  else if (is('persistent_keepalive_interval')) peer.keepalive_s = Number(value);
  else if (is('preshared_key')) peer.presharedKey = keyOfHex(value);
}

function finish(peer: Draft): SeenPeer {
  const { presharedKey, endpoint } = peer;
  return {
    publicKey: peer.publicKey,
    ...(presharedKey === undefined ? {} : { presharedKey }),
    ...(endpoint === undefined ? {} : { endpoint }),
    keepalive_s: peer.keepalive_s,
    allowedIps: peer.allowedIps,
    lastHandshakeMs: peer.seconds * 1000 + peer.nanoseconds / 1e6,
    received: peer.received,
    sent: peer.sent,
  };
}

function linesOf(edit: Edit): string[] {
  switch (edit.verb) {
    case 'set':
      return [
        ...(edit.privateKey === undefined ? [] : [`private_key=${keyHex(edit.privateKey)}`]),
        ...(edit.listenPort === undefined ? [] : [`listen_port=${edit.listenPort}`]),
        ...(edit.fwMark === undefined ? [] : [`fwmark=${edit.fwMark}`]),
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
  if (endpoint !== undefined) lines.push(`endpoint=${formatEndpoint(endpoint)}`);
  if (keepalive_s !== undefined) lines.push(`persistent_keepalive_interval=${keepalive_s}`);
  if (allowedIps !== undefined) {
    lines.push('replace_allowed_ips=true', ...allowedIps.map((prefix) => `allowed_ip=${formatIpPrefix(prefix)}`));
  }
  return lines;
}
