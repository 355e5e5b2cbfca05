import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Prefix } from '../../addr/prefix.ts';

/** A host that is sent to, and heard, in clear. */
export type ClearPeer = {
  readonly name: string;
  readonly subnet: Prefix;
  /** where its packets come from, and the UDP port of its VXLAN */
  readonly endpoint: { readonly address: Ipv4; readonly port: number };
  /** The endpoint is a neighbour on the uplink, so that nothing need be wrapped. */
  readonly onLink: boolean;
};

export type ClearChange = { readonly name: string; readonly peer: ClearPeer | undefined };
