import { formatIpv4 } from '../addr/ipv4.ts';
import { formatMac } from '../addr/mac.ts';
import { InputError } from '../errors.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { Rate } from '../sandbox/topology/network.ts';
import type { FirecrackerResource } from './schema.ts';

/** bytes per second, and bytes: what a guest may send where its sandbox has no limit of its own */
const DEFAULT_TRANSMIT: Rate = { rate: 200_000_000, burst: 100_000_000 };

/** As the guest’s kernel names its first network device, unless it is told to name it otherwise. */
const GUEST_DEVICE = 'eth0';

type RateLimiter = NonNullable<FirecrackerResource['network-interfaces'][number]['tx_rate_limiter']>;

/**
 * What Firecracker is to be given for a sandbox's guest, in the words of its configuration file: the same object is
 * the body of `PUT /network-interfaces/eth0`. Pure.
 *
 * @param length of the network that guest and TAP share
 * @throws InputError `not_a_microvm`
 */
export function firecrackerOf(sandbox: Sandbox, length: number): FirecrackerResource {
  const { id, topology, tap, mac, rates, guestAddress, gateway } = sandbox;
  if (tap === undefined) {
    const message = `Cannot describe sandbox ${id} to Firecracker: its topology is ${topology}, which has no TAP`;
    throw new InputError('not_a_microvm', message, { field: 'id' });
  }
  const address = `${formatIpv4(guestAddress)}::${formatIpv4(gateway)}:${netmask(length)}`;
  return {
    'boot-source': { boot_args: `ip=${address}:${id}:${GUEST_DEVICE}:off` },
    'network-interfaces': [
      {
        iface_id: GUEST_DEVICE,
        host_dev_name: tap,
        guest_mac: formatMac(mac),
        tx_rate_limiter: limiterOf(rates.transmit ?? DEFAULT_TRANSMIT),
        ...(rates.receive === undefined ? {} : { rx_rate_limiter: limiterOf(rates.receive) }),
      },
    ],
  };
}

/**
 * Firecracker's token bucket: `size` bytes, full again after `refill_time` ms. The size is the burst; where whole
 * milliseconds do not give the rate, it is the size that bends.
 */
function limiterOf({ rate, burst }: Rate): RateLimiter {
  const refill_ms = Math.max(1, Math.round((burst / rate) * 1000));
  return { bandwidth: { size: Math.round((rate * refill_ms) / 1000), refill_time: refill_ms } };
}

function netmask(length: number): string {
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join('.');
}
