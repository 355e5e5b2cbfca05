import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { SERVER } from '../lab/vpn.ts';
import { WireWatch } from '../lab/wire-watch.ts';
import { ended } from './support/command-line.ts';
import { kill, useTunnelLab } from './support/tunnel-client.ts';

/* What whoever is on the wire may see of a machine with a tunnel. */

const lab = useTunnelLab();

it('lets nothing past its kill switch, whatever becomes of it', async () => {
  const child = await lab.client.connect(lab.vpn.config(), '--kill-switch', '--allow', '203.0.113.0/24');
  expect([
    lab.client.pings(SERVER.inside4),
    lab.client.pings(SERVER.outside4),
    lab.client.pings(SERVER.outside6),
  ]).toEqual([true, true, false]);
  await kill(child, 'SIGKILL');
  lab.vpn.client.namespace.ip('link delete vpn');
  expect([lab.client.pings(SERVER.outside4), lab.client.pings(SERVER.outside6)]).toEqual([true, false]);
  lab.client.culvert('disconnect', 'vpn');
  expect([lab.client.pings(SERVER.outside4), lab.client.pings(SERVER.outside6)]).toEqual([true, true]);
  expect(lab.vpn.state()).toEqual(lab.before);
});

describe('with a kill switch', { timeout: 180_000 }, () => {
  /** What nobody may see: all but encrypted packets, and what keeps a link alive. */
  const LEAKS =
    'not arp and not udp port 51820 and not ip6 multicast and not (icmp6 and ip6[40] >= 133 and ip6[40] <= 136)';
  /** Asks for names, and for others in both families, ten times a second. */
  const TALK = `while :; do
    echo x >/dev/udp/203.0.113.53/53; echo x >/dev/udp/192.0.2.1/9; echo x >/dev/udp/2001:db8:f::1/9; echo x >/dev/udp/${SERVER.inside4}/9
    sleep 0.1
  done 2>/dev/null`;

  it('nothing passes by in clear: as it comes, is killed, is gone, comes back, and while its endpoint is away', async () => {
    await using wire = await WireWatch.start({ wire: lab.vpn.server.namespace.path }, { link: 'eth0', filter: LEAKS });
    const talk = lab.vpn.client.start('bash', '-c', TALK);
    await expect.poll(async () => (await wire.seen()).length).toBeGreaterThan(3);
    const config = lab.vpn.config({ lines: ['DNS = 10.9.0.1'] });
    const first = await lab.client.connect(config, '--kill-switch');
    await wire.seen();
    await kill(first, 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    await pause(500);
    const second = await lab.client.connect(config, '--kill-switch');
    lab.vpn.unserve();
    await pause(500);
    await kill(second, 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    const { code } = await ended(lab.client.start(config, '--kill-switch', '--timeout', '2'));
    expect(code).toBe(1);
    // what stood before a client that could not connect stands after it
    expect(lab.client.culvert('tunnels')).toMatch(/^vpn +left +- +no +yes$/m);
    await lab.vpn.serve();
    const third = await lab.client.connect(config, '--kill-switch');
    expect((await wire.seen()).map(({ line }) => line)).toEqual([]);
    await kill(third);
    await expect.poll(async () => (await wire.seen()).length).toBeGreaterThan(3);
    await kill(talk);
    expect(lab.vpn.state()).toEqual(lab.before);
  });
});
