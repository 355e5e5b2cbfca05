import type { SeenPeer } from '../../plan/wireguard/device.ts';
import type { TunnelDevice } from '../device/device.ts';
import type { Resolved } from '../endpoint/resolve.ts';
import type { Numbers } from '../plan/routing.ts';

/** A tunnel that stands, with a handshake where one was waited for. */
export type Connected = {
  readonly device: TunnelDevice;
  readonly numbers: Numbers;
  /** bytes */
  readonly mtu: number;
  readonly peer?: SeenPeer;
  readonly resolved: Resolved;
  /** what was done of what a dead client had left, and else is to be known */
  readonly notices: readonly string[];
  /** whether it was there already, exactly as wanted */
  readonly wasAdopted: boolean;
};
