import type { TunnelHosts } from './hosts.ts';
import type { DeviceMaker } from './lab-device.ts';

/**
 * What every backend has to do, on a real device. It is not written for one runner of tests: kernels that have what it
 * needs may have little else.
 */
export type Case = {
  readonly name: string;
  readonly run: (hosts: TunnelHosts, maker: DeviceMaker) => Promise<void>;
};
