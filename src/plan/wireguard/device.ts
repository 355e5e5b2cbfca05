import type { Ipv4 } from '../../addr/ipv4.ts';
import type { Prefix } from '../../addr/prefix.ts';
import type { Key } from './key.ts';

export type Endpoint = { readonly address: Ipv4; readonly port: number };

/** A peer as it should be. */
export type Peer = {
  readonly publicKey: Key;
  readonly presharedKey?: Key;
  /** where it is sent to before it is heard from; absent where it has to begin */
  readonly endpoint?: Endpoint;
  /** seconds; 0 for none */
  readonly keepalive_s: number;
  /** disjoint from every other peer's */
  readonly allowedIps: readonly Prefix[];
};

/** A WireGuard device as it should be. */
export type Device = {
  readonly privateKey: Key;
  readonly listenPort: number;
  readonly peers: ReadonlyMap<Key, Peer>;
};

/** A peer as the device has it. */
export type SeenPeer = Peer & {
  /** ms since the epoch; 0 where there was none */
  readonly lastHandshakeMs: number;
  /** allowed IPs of a family that nobody here sets */
  readonly foreignIps: number;
  /** bytes, of encrypted packets */
  readonly received: number;
  readonly sent: number;
};

/** A device as it is. */
export type SeenDevice = {
  /** absent where none was set */
  readonly privateKey?: Key | undefined;
  /** 0 where it is not open */
  readonly listenPort: number;
  readonly peers: ReadonlyMap<Key, SeenPeer>;
};
