import { formatIp } from '../../addr/ip.ts';
import type { SeenDevice, SeenPeer } from '../../plan/wireguard/device.ts';
import { writeWholeFile } from '../../whole-file.ts';
import type { PeerConfig, TunnelConfig } from '../config/config.ts';
import { writeTunnelConfig } from '../config/write.ts';

/**
 * Writes a config over its file as the device has it now, as wg-quick(8) does with `SaveConfig = true`: whole or not at
 * all, and for its owner alone.
 *
 * @param mtu bytes, of the link
 */
export function saveConfig(path: string, config: TunnelConfig, device: SeenDevice, mtu: number): void {
  const saved: TunnelConfig = {
    ...config,
    ...(config.mtu === undefined ? {} : { mtu }),
    listenPort: device.listenPort,
    ...(device.fwMark === 0 ? {} : { fwMark: device.fwMark }),
    peers: [...device.peers.values()].map(peerOf),
  };
  writeWholeFile(path, writeTunnelConfig(saved));
}

function peerOf({ publicKey, presharedKey, allowedIps, endpoint, keepalive_s }: SeenPeer): PeerConfig {
  return {
    publicKey,
    ...(presharedKey === undefined ? {} : { presharedKey }),
    allowedIps,
    ...(endpoint === undefined ? {} : { endpoint: { host: formatIp(endpoint.address), port: endpoint.port } }),
    keepalive_s,
    line: 0,
  };
}
