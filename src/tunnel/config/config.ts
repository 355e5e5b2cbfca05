import type { Ip } from '../../addr/ip.ts';
import type { IpInterface, IpPrefix } from '../../addr/ip-prefix.ts';
import type { Key } from '../../plan/wireguard/key.ts';

/** A wg-quick file, wg-quick(8) and wg(8). */
export type TunnelConfig = {
  /** clamped, as a device gives it back */
  readonly privateKey: Key;
  /** 1 to 65535; absent where any will do */
  readonly listenPort?: number;
  /** 1 to 2^32 - 1 */
  readonly fwMark?: number;
  readonly addresses: readonly IpInterface[];
  readonly dns: Dns;
  /** bytes; absent where it is to be found */
  readonly mtu?: number;
  readonly table: 'auto' | 'off' | number;
  readonly hooks: Hooks;
  readonly saveConfig: boolean;
  /** no two with one key, or with one allowed IP */
  readonly peers: readonly PeerConfig[];
};

export type Dns = {
  readonly servers: readonly Ip[];
  /** domains, as they were written */
  readonly search: readonly string[];
};

/** Lines for bash(1), in which `%i` is the name of the link. */
export type Hooks = {
  readonly preUp: readonly string[];
  readonly postUp: readonly string[];
  readonly preDown: readonly string[];
  readonly postDown: readonly string[];
};

export type PeerConfig = {
  readonly publicKey: Key;
  readonly presharedKey?: Key;
  readonly allowedIps: readonly IpPrefix[];
  readonly endpoint?: HostPort;
  /** 0 for none */
  readonly keepalive_s: number;
  /** of its first section, from 1 on */
  readonly line: number;
};

export type HostPort = {
  /** a name as it was written, or an address in its one form; of a link-local one with its zone: `fe80::1%eth0` */
  readonly host: string;
  /** 1 to 65535 */
  readonly port: number;
};

/** A config with what was asked for besides its file. */
export type RoutedConfig = TunnelConfig & {
  /**
   * What goes through the tunnel, the longest prefixes first: none with `Table = off`, at most what peers are allowed to
   * send, and nothing of what is excluded.
   */
  readonly routed: readonly IpPrefix[];
  /** as it was asked for; a route that throws it out of a table says the same as `routed` in fewer routes */
  readonly excluded: readonly IpPrefix[];
};
