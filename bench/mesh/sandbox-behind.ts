import { join } from 'node:path';
import type { Underlay } from '../../lab/underlay.ts';
import { formatIpv4, type Ipv4 } from '../../src/addr/ipv4.ts';
import { createNamespace, removeNamespace } from '../../src/linux/namespace.ts';

/** RFC 3927, of the cable between the two */
const [NEAR, FAR] = ['169.254.7.0', '169.254.7.1'];

/**
 * A namespace behind a router namespace, with an address that is routed there:
 *
 *     router s1 169.254.7.0/31 ── eth0 169.254.7.1/31, address/32
 *
 * @returns its pin
 */
export function sandboxBehind(
  underlay: Underlay,
  made: DisposableStack,
  { router, folder, address }: { readonly router: string; readonly folder: string; readonly address: Ipv4 },
): string {
  const pin = join(folder, 'sandbox');
  createNamespace(pin, () => undefined);
  made.defer(() => removeNamespace(pin));
  const ip = (where: string, ...words: string[]): void => void underlay.run(where, 'ip', ...words);
  const itself = `${formatIpv4(address)}/32`;
  ip(router, 'link', 'add', 's1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pin);
  ip(router, 'address', 'add', `${NEAR}/31`, 'dev', 's1');
  ip(router, 'link', 'set', 's1', 'mtu', '1420', 'up');
  ip(pin, 'address', 'add', `${FAR}/31`, 'dev', 'eth0');
  ip(pin, 'address', 'add', itself, 'dev', 'eth0');
  ip(pin, 'link', 'set', 'eth0', 'mtu', '1420', 'up');
  ip(pin, 'route', 'add', 'default', 'via', NEAR, 'src', formatIpv4(address));
  ip(router, 'route', 'add', itself, 'via', FAR);
  underlay.run(router, 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
  return pin;
}
