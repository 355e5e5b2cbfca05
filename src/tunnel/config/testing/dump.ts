import { formatIpPrefix } from '../../../addr/ip-prefix.ts';
import type { TunnelConfig } from '../config.ts';
import { formatEndpoint } from '../endpoint.ts';

/** What `wg show NAME dump` prints of a device with this config, its peers in the order of their keys. */
export function dumpOf({ privateKey, listenPort, fwMark, peers }: TunnelConfig): unknown {
  return {
    privateKey,
    // any other where none is asked for
    listenPort: listenPort ?? 'any',
    fwMark: fwMark === undefined ? 'off' : `0x${fwMark.toString(16)}`,
    peers: peers
      .map(({ publicKey, presharedKey, allowedIps, endpoint, keepalive_s }) => ({
        publicKey,
        presharedKey: presharedKey ?? '(none)',
        endpoint: endpoint === undefined ? '(none)' : formatEndpoint(endpoint),
        allowedIps: allowedIps.length === 0 ? ['(none)'] : allowedIps.map(formatIpPrefix).toSorted(),
        keepalive: keepalive_s === 0 ? 'off' : String(keepalive_s),
      }))
      .toSorted((one, other) => one.publicKey.localeCompare(other.publicKey)),
  };
}

/** What it prints, in that shape. */
export function readDump(text: string, config: TunnelConfig): unknown {
  const [own = '', ...peers] = text.trimEnd().split('\n');
  const [privateKey, , listenPort, fwMark] = own.split('\t');
  const names = new Map(config.peers.map(({ publicKey, endpoint }) => [String(publicKey), endpoint?.host]));
  return {
    privateKey,
    listenPort: config.listenPort === undefined ? 'any' : Number(listenPort),
    fwMark,
    peers: peers
      .map((line) => {
        const [publicKey = '', presharedKey, endpoint = '', allowedIps = '', , , , keepalive] = line.split('\t');
        const isNamed = names.get(publicKey) === 'localhost';
        return {
          publicKey,
          presharedKey,
          endpoint: isNamed ? endpoint.replace(/^(127\.0\.0\.1|\[::1\])/, 'localhost') : endpoint,
          allowedIps: allowedIps.split(',').toSorted(),
          keepalive,
        };
      })
      .toSorted((one, other) => one.publicKey.localeCompare(other.publicKey)),
  };
}
