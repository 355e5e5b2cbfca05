import type { SeenDevice } from '../../plan/wireguard/device.ts';
import { formatEndpoint } from '../../plan/wireguard/endpoint.ts';
import { refusalOf } from '../endpoint/refusal.ts';
import type { Resolved } from '../endpoint/resolve.ts';
import type { Heard } from './answers.ts';
import { type ClockFacts, clockTrouble } from './clock.ts';

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

/** What is known besides what the device says. */
export type Evidence = {
  readonly resolved: Resolved;
  /** of encrypted packets */
  readonly fwMark: number;
  /** what came from endpoints, read or not */
  readonly heard: Heard;
  readonly clock: ClockFacts;
};

/** Looks at what a device has sent and heard, and asks the network about its endpoints. */
export async function whatWasSeen(device: SeenDevice, evidence: Evidence): Promise<Trouble> {
  const { resolved, fwMark } = evidence;
  const known = [...resolved.endpoints.values()];
  if (known.length === 0) {
    const text = 'no peer has an endpoint, and none has called; give one an Endpoint, or wait longer';
    return { code: 'no_endpoint', text };
  }
  const found = await Promise.all(
    known.map(async (endpoint) => ({ endpoint, said: await refusalOf(endpoint, fwMark) })),
  );
  const told = found.filter(({ said }) => said !== undefined);
  const [first] = told;
  if (first === undefined || told.length < found.length) return troubleOf(device, evidence);
  const trouble = REFUSALS[first.said ?? ''] ?? {
    code: 'endpoint_unreachable',
    text: `the network says ${first.said}`,
  };
  return {
    code: trouble.code,
    text: told.map(({ endpoint }) => `${formatEndpoint(endpoint)}: ${trouble.text}`).join('; '),
  };
}

/** Where the network says nothing. */
export function troubleOf({ peers }: SeenDevice, { resolved, heard, clock }: Evidence): Trouble {
  const keys = [...resolved.endpoints.keys()];
  const sent = keys.reduce((sum, key) => sum + (peers.get(key)?.sent ?? 0), 0);
  const received = keys.reduce((sum, key) => sum + (peers.get(key)?.received ?? 0), 0);
  const where = [...resolved.endpoints.values()].map(formatEndpoint).join(', ');
  if (heard.responses > 0) {
    const text = `${where} has answered ${times(heard.responses)}, and the answers cannot be read: see whether both have the same pre-shared key`;
    return { code: 'handshake_refused', text };
  }
  if (heard.initiations > 0) {
    const text = `${where} begins handshakes itself (${times(heard.initiations)}), and does not take up what it is answered: what is sent to it may be lost on the way, or the two have other keys or pre-shared keys for each other`;
    return { code: 'handshake_refused', text };
  }
  if (received > 0) {
    const text = `${received} bytes came from ${where}, but no handshake was done; see whether both have the same keys and pre-shared key`;
    return { code: 'handshake_refused', text };
  }
  if (heard.cookies > 0) {
    const text = `${where} has much to do and asks to be asked again (${times(heard.cookies)}), and has not answered since; try again, or wait longer`;
    return { code: 'peer_busy', text };
  }
  const said = `${sent} bytes sent to ${where}, and nothing came back`;
  const late = clockTrouble(clock, keys);
  if (late !== undefined) return { code: 'clock_behind', text: `${said}: ${late}` };
  const reasons =
    'it may be the wrong address or port, a firewall on the way, or a peer that does not know this key or takes its handshake for an old one (see whether this host’s clock is behind)';
  return { code: 'no_answer', text: `${said}: ${reasons}` };
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
