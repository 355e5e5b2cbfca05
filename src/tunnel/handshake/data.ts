import { formatIp } from '../../addr/ip.ts';
import { CulvertError } from '../../errors.ts';
import type { SeenPeer } from '../../plan/wireguard/device.ts';
import { formatEndpoint } from '../../plan/wireguard/endpoint.ts';
import type { RoutedConfig } from '../config/config.ts';
import type { TunnelDevice } from '../device/device.ts';
import type { Inside } from '../inside/echo-socket.ts';
import { hear } from '../inside/heard.ts';
import { whomToAsk } from '../inside/whom.ts';

export type DataParts = {
  readonly device: TunnelDevice;
  readonly inside: Inside;
  readonly config: RoutedConfig;
  /** with whom there was a handshake */
  readonly peer: SeenPeer;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

/**
 * Waits until somebody inside a tunnel has answered: a handshake says nothing of what is sent after it.
 *
 * @throws CulvertError `no_data`, with what was seen; `aborted`
 */
export async function untilData({ device, inside, config, peer, timeoutMs, signal }: DataParts): Promise<void> {
  const { name } = device.link;
  const of = config.peers.find(({ publicKey }) => publicKey === peer.publicKey);
  const whom = of === undefined ? [] : whomToAsk(config, of);
  const listening = { inside, peer: peer.publicKey, whom, isContent: false, timeoutMs, signal };
  const heard = await hear(() => device.read(), listening);
  if (heard === 'answer') return;
  if (signal.aborted) throw new CulvertError('aborted', `Cannot connect ${name}: it was called off`);
  const where = peer.endpoint === undefined ? 'the peer' : formatEndpoint(peer.endpoint);
  const asked = whom.map(({ address }) => formatIp(address)).join(', ') || 'nobody, as the config names no address';
  const own = config.addresses.map(({ address }) => formatIp(address)).join(', ');
  const why =
    heard === 'something'
      ? `it keeps the session alive, and nobody inside answers (asked: ${asked}): see whether its AllowedIPs for this host have ${own}, and whether somebody there answers ping`
      : `nothing has come of what was sent since (asked: ${asked}): packets with data may be dropped on the way, whatever becomes of handshakes`;
  throw new CulvertError(
    'no_data',
    `Cannot connect ${name}: ${where} has answered the handshake, but no data came in ${timeoutMs / 1000} s: ${why}`,
  );
}
