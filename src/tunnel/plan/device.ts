import type { Device, Endpoint, Peer } from '../../plan/wireguard/device.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import type { TunnelConfig } from '../config/config.ts';

/** Has a device that is made say something at once, so that it begins with a handshake. */
const FIRST_KEEPALIVE_S = 5;

export type Known = {
  readonly endpoints: ReadonlyMap<Key, Endpoint>;
  /** of encrypted packets; 0 for none */
  readonly fwMark: number;
};

/**
 * The device of a config.
 *
 * @param isNew whether its peers are to begin by themselves
 */
export function deviceOf({ privateKey, listenPort, peers }: TunnelConfig, known: Known, isNew: boolean): Device {
  return {
    privateKey,
    ...(listenPort === undefined ? {} : { listenPort }),
    ...(known.fwMark === 0 ? {} : { fwMark: known.fwMark }),
    peers: new Map(
      peers.map(({ publicKey, presharedKey, allowedIps, keepalive_s }): [Key, Peer] => {
        const endpoint = known.endpoints.get(publicKey);
        const begins = isNew && keepalive_s === 0 && endpoint !== undefined;
        const peer = {
          publicKey,
          ...(presharedKey === undefined ? {} : { presharedKey }),
          ...(endpoint === undefined ? {} : { endpoint }),
          keepalive_s: begins ? FIRST_KEEPALIVE_S : keepalive_s,
          allowedIps,
        };
        return [publicKey, peer];
      }),
    ),
  };
}
