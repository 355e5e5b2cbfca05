import type { Prefix } from '../../addr/prefix.ts';

export type ClearOptions = {
  /** of the daemon, 1 to 12 of a-z, 0-9 and - */
  readonly instance: string;
  /** the host's own */
  readonly subnet: Prefix;
  /** of all hosts' subnets */
  readonly range: Prefix;
  /** prefix length that no host's subnet is longer than */
  readonly unit: number;
  /** UDP port of its VXLAN */
  readonly port: number;
  /** bytes, of all links */
  readonly mtu: number;
  /** name of the link that the host reaches the others by; absent where there is none, and nothing goes unwrapped */
  readonly uplink?: string;
};
