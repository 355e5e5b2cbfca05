import { parseIpv4 } from '../../../addr/ipv4.ts';
import { parsePrefix } from '../../../addr/prefix.ts';
import type { Device, Peer } from '../../../plan/wireguard/device.ts';
import { parseKey } from '../../../plan/wireguard/key.ts';

/** What `wg show NAME dump` prints: of the device a line, and of each peer one (wg(8)). */
export function readWgDump(text: string): Device {
  const [own = '', ...peers] = text.trimEnd().split('\n');
  const [privateKey = '', , listenPort] = own.split('\t');
  return {
    privateKey: parseKey(privateKey),
    listenPort: Number(listenPort),
    peers: new Map(peers.map(readPeer).map((peer) => [peer.publicKey, peer])),
  };
}

function readPeer(line: string): Peer {
  const [publicKey = '', presharedKey = '', endpoint = '', allowedIps = '', , , , keepalive] = line.split('\t');
  const [address = '', port] = endpoint.split(':');
  return {
    publicKey: parseKey(publicKey),
    ...(presharedKey === '(none)' ? {} : { presharedKey: parseKey(presharedKey) }),
    ...(endpoint === '(none)' ? {} : { endpoint: { address: parseIpv4(address), port: Number(port) } }),
    keepalive_s: keepalive === 'off' ? 0 : Number(keepalive),
    allowedIps: allowedIps === '(none)' ? [] : allowedIps.split(',').map(parsePrefix),
  };
}
