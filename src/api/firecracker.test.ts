import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIpv4 } from '../addr/ipv4.ts';
import { parseMac } from '../addr/mac.ts';
import type { Generation } from '../ipam/lease.ts';
import { parseSandboxId, parseSlot } from '../ipam/lease.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { firecrackerOf } from './firecracker.ts';

const { tap, ...without }: Sandbox & { readonly tap: string } = {
  id: parseSandboxId('vm-1'),
  slot: parseSlot(7),
  generation: 2 as Generation,
  state: 'ready',
  topology: 'microvm',
  netns: '/run/culvert/netns/s7',
  hostAddress: parseIpv4('10.11.0.7'),
  guestAddress: parseIpv4('169.254.0.21'),
  gateway: parseIpv4('169.254.0.22'),
  dns: parseIpv4('10.12.0.1'),
  mac: parseMac('02:fc:00:00:00:06'),
  tap: 'tap0',
  mtu: 1420,
  rates: {},
  policy: { egress: 'internet', allow: [], deny: [] },
};
const sandbox: Sandbox = { ...without, tap };

function limiters(rates: Sandbox['rates']): unknown[] {
  const [network] = firecrackerOf({ ...sandbox, rates }, 30)['network-interfaces'];
  return [network?.tx_rate_limiter, network?.rx_rate_limiter];
}

describe('what Firecracker is given', () => {
  it('is one network interface and the address of the guest', () => {
    expect(firecrackerOf(sandbox, 30)).toEqual({
      'boot-source': { boot_args: 'ip=169.254.0.21::169.254.0.22:255.255.255.252:vm-1:eth0:off' },
      'network-interfaces': [
        {
          iface_id: 'eth0',
          host_dev_name: 'tap0',
          guest_mac: '02:fc:00:00:00:06',
          tx_rate_limiter: { bandwidth: { size: 100_000_000, refill_time: 500 } },
        },
      ],
    });
  });

  it.each([
    [24, '255.255.255.0'],
    [31, '255.255.255.254'],
    [0, '0.0.0.0'],
  ])('has the mask of a /%d', (length, mask) => {
    expect(firecrackerOf(sandbox, length)['boot-source'].boot_args).toContain(`:${mask}:`);
  });

  it('has the limits of the sandbox, where it has some', () => {
    const rates = { transmit: { rate: 125_000_000, burst: 1_000_000 }, receive: { rate: 1000, burst: 65_536 } };
    expect(limiters(rates)).toEqual([
      { bandwidth: { size: 1_000_000, refill_time: 8 } },
      { bandwidth: { size: 65_536, refill_time: 65_536 } },
    ]);
  });

  it('keeps to the rate, and to the burst as far as whole milliseconds allow', () => {
    const rate = fc.integer({ min: 1000, max: 100_000_000_000 });
    const burst = fc.integer({ min: 65_536, max: 0xffffffff });
    fc.assert(
      fc.property(rate, burst, (bytesPerSecond, bytes) => {
        const [limiter] = limiters({ transmit: { rate: bytesPerSecond, burst: bytes } });
        const { size, refill_time } = (limiter as { bandwidth: { size: number; refill_time: number } }).bandwidth;
        expect(Math.abs(size / (refill_time / 1000) / bytesPerSecond - 1)).toBeLessThan(0.001);
        expect(Math.abs(size - bytes)).toBeLessThanOrEqual(bytesPerSecond / 1000 + 1);
      }),
    );
  });

  it('is nothing for a sandbox without a TAP', () => {
    expect(() => firecrackerOf({ ...without, topology: 'netns' }, 30)).toThrow(/vm-1.*netns.*no TAP/);
  });
});
