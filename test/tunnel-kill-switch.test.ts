import { setTimeout as pause } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { SERVER } from '../lab/vpn.ts';
import { WireWatch } from '../lab/wire-watch.ts';
import { ended } from './support/command-line.ts';
import { kill, useTunnelLab } from './support/tunnel-client.ts';
import { CLEAR, TunnelWalk } from './support/tunnel-walk.ts';

/* A kill switch, whatever becomes of the tunnel, of its client, and of the machine's routes. */

const lab = useTunnelLab();

/** Asks for names, and for others in both families, ten times a second. */
const TALK = `while :; do
  echo x >/dev/udp/203.0.113.53/53; echo x >/dev/udp/192.0.2.1/9; echo x >/dev/udp/2001:db8:f::1/9; echo x >/dev/udp/${SERVER.inside4}/9
  sleep 0.1
done 2>/dev/null`;

/** of random moments */
const ROUNDS = 10;
const LONGEST_MS = 1500;

const config = (): string => lab.vpn.config({ lines: ['DNS = 10.9.0.1'] });

/** Has the machine talk, and whoever is on the wire hear it. */
async function talking(): Promise<WireWatch> {
  const at = { wire: lab.vpn.server.namespace.path };
  const wire = await WireWatch.start(at, { link: 'eth0', filter: CLEAR });
  lab.vpn.client.start('bash', '-c', TALK);
  await untilHeard(wire);
  return wire;
}

/** Until something is said that nothing keeps from the wire. */
async function untilHeard(wire: WireWatch): Promise<void> {
  await expect.poll(async () => (await wire.seen()).length, { timeout: 30_000 }).toBeGreaterThan(0);
}

beforeEach(() => {
  // the machine's name server, so that questions to it are more than ARP
  lab.vpn.server.namespace.ip('address add 203.0.113.53/24 dev eth0');
});

describe('a kill switch', { timeout: 180_000 }, () => {
  it('lets nothing by but what is allowed, until it is told to', async () => {
    const reached = (): boolean[] => [SERVER.outside4, SERVER.outside6].map((to) => lab.client.pings(to));
    const child = await lab.client.connect(lab.vpn.config(), '--kill-switch', '--allow', '203.0.113.0/24');
    expect([lab.client.pings(SERVER.inside4), ...reached()]).toEqual([true, true, false]);
    await kill(child, 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    expect(reached()).toEqual([true, false]);
    lab.client.culvert('disconnect', 'vpn');
    expect(reached()).toEqual([true, true]);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('lets nothing by as its client is killed and comes back, its link is gone and its endpoint is away', async () => {
    await using wire = await talking();
    const first = await lab.client.connect(config(), '--kill-switch');
    await wire.seen();
    await kill(first, 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    await pause(500);
    const second = await lab.client.connect(config(), '--kill-switch');
    lab.vpn.unserve();
    await pause(500);
    await kill(second, 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    const { code } = await ended(lab.client.start(config(), '--kill-switch', '--timeout', '2'));
    expect(code).toBe(1);
    // what stood before a client that could not connect stands after it
    expect(lab.client.culvert('tunnels')).toMatch(/^vpn +left +- +no +yes +- /m);
    await lab.vpn.serve();
    const third = await lab.client.connect(config(), '--kill-switch');
    expect((await wire.seen()).map(({ line }) => line)).toEqual([]);
    await kill(third);
    await untilHeard(wire);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('lets nothing by from when it first stands on, at whatever moments its clients are killed', async () => {
    await using wire = await talking();
    let closedMs = Number.POSITIVE_INFINITY;
    const look = (): void => {
      const isClosed = lab.vpn.state()['tables']?.includes('culvert_kill_vpn') === true;
      if (isClosed) closedMs = Math.min(closedMs, Date.now());
      else expect(closedMs, 'it is gone').toBe(Number.POSITIVE_INFINITY);
    };
    const moments = Array.from({ length: ROUNDS }, () => Math.round(Math.random() * LONGEST_MS));
    for (const ms of moments) {
      const child = lab.client.start(config(), '--kill-switch');
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pause(ms);
      // oxlint-disable-next-line no-await-in-loop -- likewise
      await kill(child, 'SIGKILL');
      look();
    }
    const child = await lab.client.connect(config(), '--kill-switch');
    look();
    const heard = (await wire.seen()).filter(({ atMs }) => atMs > closedMs);
    expect(
      heard.map(({ line }) => line),
      `killed after ${moments.join(', ')} ms`,
    ).toEqual([]);
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('lets nothing by that routes lead elsewhere, as DHCP, a router or another program may set them', async () => {
    await using walk = await TunnelWalk.begin(lab.client);
    const child = await lab.client.connect(config(), '--kill-switch');
    // more exact than a default route, so that they come before the tunnel's
    lab.vpn.client.namespace.ip(
      `route add 0.0.0.0/1 via ${SERVER.outside4}`,
      `route add 128.0.0.0/1 via ${SERVER.outside4}`,
      `route add 2000::/3 via ${SERVER.outside6}`,
      'rule add priority 1 table main',
    );
    expect(lab.client.wayTo('192.0.2.1')).toBe('eth0');
    expect(await walk.listen('routes lead elsewhere')).toMatchObject({ inet: false, inet6: false, asked: [] });
    lab.vpn.client.namespace.ip(
      'rule delete priority 1',
      'route delete 2000::/3',
      'route delete 128.0.0.0/1',
      'route delete 0.0.0.0/1',
    );
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });
});
