import type { Prefix } from '../../addr/prefix.ts';
import type { Endpoint } from '../../plan/wireguard/device.ts';

/** A host that is sent to, and heard, in clear. */
export type ClearPeer = {
  readonly name: string;
  readonly subnet: Prefix;
  /** where its packets come from, and the UDP port of its VXLAN */
  readonly endpoint: Endpoint;
  /** The endpoint is a neighbour on the uplink, so that nothing need be wrapped. */
  readonly onLink: boolean;
};

export type ClearChange = { readonly name: string; readonly peer: ClearPeer | undefined };
