import type { Ip } from '../../addr/ip.ts';
import type { IpPrefix } from '../../addr/ip-prefix.ts';
import type { Key } from './key.ts';

export type Endpoint = {
  readonly address: Ip;
  readonly port: number;
  /** index of the link that a link-local IPv6 address is reached by; absent for every other address */
  readonly scopeId?: number;
};

/** A peer as it should be. */
export type Peer = {
  readonly publicKey: Key;
  readonly presharedKey?: Key;
  /** where it is sent to before it is heard from; absent where it has to begin */
  readonly endpoint?: Endpoint;
  /** seconds; 0 for none */
  readonly keepalive_s: number;
  /** of both families, each once, disjoint from every other peer's */
  readonly allowedIps: readonly IpPrefix[];
};

/** A WireGuard device as it should be. */
export type Device = {
  readonly privateKey: Key;
  /** 1 to 65535; absent where the device chooses, and keeps what it has */
  readonly listenPort?: number;
  /** of the encrypted packets that it sends, 32 bits; absent or 0 for none */
  readonly fwMark?: number;
  readonly peers: ReadonlyMap<Key, Peer>;
};

/** A peer as the device has it. */
export type SeenPeer = Peer & {
  /** ms since the epoch; 0 where there was none */
  readonly lastHandshakeMs: number;
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
  /** 0 for none */
  readonly fwMark: number;
  readonly peers: ReadonlyMap<Key, SeenPeer>;
};
