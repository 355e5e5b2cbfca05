import { parseIpPrefix } from '../../../addr/ip-prefix.ts';
import type { Device, Peer } from '../../../plan/wireguard/device.ts';
import { parseEndpoint } from '../../../plan/wireguard/endpoint.ts';
import { parseKey } from '../../../plan/wireguard/key.ts';

/** What `wg show NAME dump` prints: of the device a line, and of each peer one (wg(8)). */
export function readWgDump(text: string): Device {
  const [own = '', ...peers] = text.trimEnd().split('\n');
  const [privateKey = '', , listenPort, mark] = own.split('\t');
  return {
    privateKey: parseKey(privateKey),
    listenPort: Number(listenPort),
    fwMark: mark === 'off' ? 0 : Number(mark),
    peers: new Map(peers.map(readPeer).map((peer) => [peer.publicKey, peer])),
  };
}

function readPeer(line: string): Peer {
  const [publicKey = '', presharedKey = '', endpoint = '', allowedIps = '', , , , keepalive] = line.split('\t');
  return {
    publicKey: parseKey(publicKey),
    ...(presharedKey === '(none)' ? {} : { presharedKey: parseKey(presharedKey) }),
    ...(endpoint === '(none)' ? {} : { endpoint: parseEndpoint(endpoint) }),
    keepalive_s: keepalive === 'off' ? 0 : Number(keepalive),
    allowedIps: allowedIps === '(none)' ? [] : allowedIps.split(',').map(parseIpPrefix),
  };
}
