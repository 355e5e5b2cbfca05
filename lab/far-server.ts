import { createNamespace } from '../src/linux/namespace.ts';
import type { LabHost } from './host.ts';

/** RFC 5737 TEST-NET-3, both of the one server: what is learnt of the way to the one is unknown of the other. */
export const FAR_ADDRESSES = ['203.0.113.1', '203.0.113.2'] as const;

/** RFC 5737 TEST-NET-2, of the router behind the narrow link */
export const FAR_ROUTER = '198.51.100.2';

/**
 * Lays a path beyond a host's outside, whose middle is narrower than its ends and known to neither:
 *
 *     host ── outside ── narrow ── far ── server
 *                  198.51.100.0/24   203.0.113.0/24, the server .1 and .2
 *
 * @param mtu bytes, of the link between the routers `outside` and `far`; all others have 1500
 */
export function layFarServer(lab: LabHost, { mtu }: { readonly mtu: number }): void {
  for (const name of ['far', 'server']) {
    createNamespace(lab.pin(name), () => undefined);
    lab.run(name, 'ip', 'link', 'set', 'lo', 'up');
  }
  joinBy(lab, mtu, ['outside', 'far0', '198.51.100.1/24'], ['far', 'near0', `${FAR_ROUTER}/24`]);
  joinBy(lab, 1500, ['far', 'eth0', '203.0.113.254/24'], ['server', 'eth0', `${FAR_ADDRESSES[0]}/24`]);
  lab.run('server', 'ip', 'address', 'add', `${FAR_ADDRESSES[1]}/24`, 'dev', 'eth0');
  for (const router of ['outside', 'far']) lab.run(router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  lab.run('outside', 'ip', 'route', 'add', '203.0.113.0/24', 'via', FAR_ROUTER);
  lab.run('far', 'ip', 'route', 'add', 'default', 'via', '198.51.100.1');
  lab.run('server', 'ip', 'route', 'add', 'default', 'via', '203.0.113.254');
}

type End = [namespace: string, link: string, address: string];

function joinBy(lab: LabHost, mtu: number, [near, link, ...addresses]: End, [far, peer, ...others]: End): void {
  const ends = ['mtu', String(mtu), 'type', 'veth', 'peer', 'name', peer, 'mtu', String(mtu), 'netns', lab.pin(far)];
  lab.run(near, 'ip', 'link', 'add', link, ...ends);
  for (const [namespace, name, [address = '']] of [
    [near, link, addresses],
    [far, peer, others],
  ] as const) {
    lab.run(namespace, 'ip', 'address', 'add', address, 'dev', name);
    lab.run(namespace, 'ip', 'link', 'set', name, 'up');
  }
}
