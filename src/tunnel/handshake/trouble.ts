import type { SeenDevice } from '../../plan/wireguard/device.ts';
import { formatEndpoint } from '../../plan/wireguard/endpoint.ts';
import { refusalOf } from '../endpoint/refusal.ts';
import type { Resolved } from '../endpoint/resolve.ts';

/** Why there was no handshake, as far as it can be seen. */
export type Trouble = { readonly code: string; readonly text: string };

/** Names of errnos, and what they say of a packet that was sent. */
const REFUSALS: Readonly<Record<string, Trouble>> = {
  ECONNREFUSED: { code: 'endpoint_refused', text: 'nobody listens there (ICMP port unreachable)' },
  EHOSTUNREACH: { code: 'endpoint_unreachable', text: 'the network cannot reach it (ICMP host unreachable)' },
  ENETUNREACH: { code: 'no_route', text: 'this host has no route there' },
  EACCES: { code: 'endpoint_prohibited', text: 'the network prohibits it (ICMP administratively prohibited)' },
  EPERM: { code: 'endpoint_prohibited', text: 'a firewall of this host drops it' },
};

/**
 * Looks at what a device has sent and heard, and asks the network about its endpoints.
 *
 * @param fwMark of encrypted packets
 */
export async function whatWasSeen({ peers }: SeenDevice, resolved: Resolved, fwMark: number): Promise<Trouble> {
  const known = [...resolved.endpoints];
  if (known.length === 0) {
    const text = 'no peer has an endpoint, and none has called; give one an Endpoint, or wait longer';
    return { code: 'no_endpoint', text };
  }
  const found = await Promise.all(
    known.map(async ([, endpoint]) => ({ endpoint, said: await refusalOf(endpoint, fwMark) })),
  );
  const told = found.filter(({ said }) => said !== undefined);
  const [first] = told;
  if (first !== undefined && told.length === found.length) {
    const trouble = REFUSALS[first.said ?? ''] ?? {
      code: 'endpoint_unreachable',
      text: `the network says ${first.said}`,
    };
    return {
      code: trouble.code,
      text: told.map(({ endpoint }) => `${formatEndpoint(endpoint)}: ${trouble.text}`).join('; '),
    };
  }
  const sent = known.reduce((sum, [key]) => sum + (peers.get(key)?.sent ?? 0), 0);
  const received = known.reduce((sum, [key]) => sum + (peers.get(key)?.received ?? 0), 0);
  const where = known.map(([, endpoint]) => formatEndpoint(endpoint)).join(', ');
  if (received > 0) {
    const text = `${received} bytes came from ${where}, but no handshake was done; see whether both have the same keys and pre-shared key`;
    return { code: 'handshake_refused', text };
  }
  const keys =
    'it may be the wrong address or port, a firewall on the way, or a peer that does not know this key or takes its handshake for an old one (see whether this host’s clock is behind)';
  return { code: 'no_answer', text: `${sent} bytes sent to ${where}, and nothing came back: ${keys}` };
}
