import type { Endpoint, Peer } from '../../plan/wireguard/device.ts';
import type { Edit } from '../../plan/wireguard/edit.ts';

/** Any will do: the first message that keeps alive goes out when it is set. */
const NUDGE_S = 5;

/**
 * What has a device say something to a peer at once: by a session where it has one, and else by the beginning of a
 * handshake. An endpoint that is set, even to what it was, has it forget from which address and by which link it sent
 * there. Nothing is lost by it. Each is to be said by itself.
 *
 * @param peer as it is to be
 */
export function nudge({ publicKey, keepalive_s }: Peer, endpoint: Endpoint | undefined): Edit[][] {
  const steps = [0, keepalive_s === 0 ? NUDGE_S : keepalive_s, ...(keepalive_s === 0 ? [0] : [])];
  return steps.map((seconds, index) => {
    const where = index === 0 && endpoint !== undefined ? { endpoint } : {};
    return [{ verb: 'change', peer: { publicKey, ...where, keepalive_s: seconds } }];
  });
}

/**
 * What has a device forget its session with a peer and begin a handshake at once, where it would otherwise send into the
 * old session until it gives that up, for fifteen seconds. What is under way in the old one is lost.
 *
 * @param peer as it is to be
 */
export function renewal(peer: Peer, endpoint: Endpoint | undefined): Edit[][] {
  const { publicKey, presharedKey, allowedIps } = peer;
  const added = {
    publicKey,
    ...(presharedKey === undefined ? {} : { presharedKey }),
    ...(endpoint === undefined ? {} : { endpoint }),
    keepalive_s: 0,
    allowedIps,
  };
  return [
    [
      { verb: 'remove', publicKey },
      { verb: 'add', peer: added },
    ],
    ...nudge(peer, undefined),
  ];
}
