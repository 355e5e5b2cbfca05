import { expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { parseIp } from '../../addr/ip.ts';
import { NETLINK_ROUTE } from '../../linux/netlink/constants.ts';
import { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { UncutPackets } from './uncut.ts';
import { waysOut, widest } from './ways.ts';

/*
 *     host              router                     server
 *     eth0 10.1.0.2 ─── 10.1.0.1 · 10.2.0.1 ────── 10.2.0.2
 *                                   1400 bytes
 */
it('has the kernel learn what a router says, of marked packets too', async () => {
  const [host, router, server] = await Promise.all([LabNamespace.make(), LabNamespace.make(), LabNamespace.make()]);
  try {
    router.ip(
      `link add near type veth peer name eth0 netns ${host.pid}`,
      `link add far type veth peer name eth0 netns ${server.pid}`,
      'address add 10.1.0.1/24 dev near',
      'address add 10.2.0.1/24 dev far',
      'link set near up',
      'link set far mtu 1400 up',
    );
    router.forward();
    host.ip('address add 10.1.0.2/24 dev eth0', 'link set eth0 up', 'route add default via 10.1.0.1');
    server.ip('address add 10.2.0.2/24 dev eth0', 'link set eth0 mtu 1400 up', 'route add default via 10.2.0.1');
    const endpoint = { address: parseIp('10.2.0.2'), port: 51_820 };
    using opened = new DisposableStack();
    const [packets, socket] = host.within(() => [
      opened.use(new UncutPackets(7)),
      opened.use(new NetlinkSocket(NETLINK_ROUTE)),
    ]);
    const room = (): number | undefined => widest(waysOut(socket, [endpoint.address], 7));
    expect(room()).toBe(1500);
    packets.send(endpoint, 1300);
    // refused: nobody listens there
    packets.send(endpoint, 1300);
    expect(room()).toBe(1500);
    packets.send(endpoint, 1500);
    await expect.poll(room, { timeout: 10_000 }).toBe(1400);
    // larger than the link is none that leaves
    packets.send(endpoint, 9000);
  } finally {
    await Promise.all([host, router, server].map((one) => one.close()));
  }
});
