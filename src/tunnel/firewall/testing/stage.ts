import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { LabNamespace } from '../../../../lab/namespace.ts';
import { RawLink } from '../../../../lab/raw-link.ts';
import { parseIp } from '../../../addr/ip.ts';
import { parseIpPrefix } from '../../../addr/ip-prefix.ts';
import type { NetlinkSocket } from '../../../linux/netlink/socket.ts';
import { removeFirewall } from '../keeper.ts';
import type { KillSwitchOptions } from '../kill-switch.ts';
import { type Packet, packetText, readPacket, transmit } from './packets.ts';

/** index of the host's link */
export const WIRE = 78;

export const MARK = 51_820;

export const OPTIONS: KillSwitchOptions = {
  name: 't0',
  mark: MARK,
  endpoints: [
    { address: parseIp('198.51.100.7'), port: 51_820 },
    { address: parseIp('2001:db8:7::7'), port: 51_820 },
  ],
  resolvers: [parseIp('198.51.100.53'), parseIp('2001:db8:7::53')],
  allow: [parseIpPrefix('203.0.113.0/24'), parseIpPrefix('2001:db8:a::/48')],
};

/**
 *   guest             host                         outside
 *   ┌──────────┐   ┌──────────────────────────┐   ┌──────────────────────────┐
 *   │ 10.7.0.2 │───│ g0 10.7.0.1    192.0.2.1 │───│ 192.0.2.7, the way to    │
 *   │ fd07::2  │   │    fd07::1          wire │   │ everywhere. What comes   │
 *   └──────────┘   │               2001:db8::1│   │ here has left the host   │
 *                  │ t0 10.9.0.1              │   └──────────────────────────┘
 *                  └──┬───────────────────────┘
 *                     │ stands in for the tunnel's link
 *                  ┌──┴───────┐
 *                  │ 10.9.0.2 │ far
 *                  └──────────┘
 */
export class KillSwitchStage {
  readonly guest: LabNamespace;
  readonly host: LabNamespace;
  readonly outside: LabNamespace;
  readonly far: LabNamespace;
  /** of the host */
  readonly netfilter: NetlinkSocket;
  readonly onWire: RawLink;
  readonly onTunnel: RawLink;
  /** one that was not seen before */
  #port = 20_000;

  private constructor([guest, host, outside, far]: readonly [LabNamespace, LabNamespace, LabNamespace, LabNamespace]) {
    outside.ip(`link add wire index 77 type veth peer name wire index ${WIRE} netns ${host.pid}`);
    far.ip(`link add t0 index 77 type veth peer name t0 netns ${host.pid}`);
    guest.ip(`link add g0 type veth peer name g0 netns ${host.pid}`);
    addresses(host, 'wire', '192.0.2.1/24', '2001:db8::1/64');
    addresses(host, 't0', '10.9.0.1/24', 'fd09::1/64');
    addresses(host, 'g0', '10.7.0.1/24', 'fd07::1/64');
    addresses(outside, 'wire', '192.0.2.7/24', '2001:db8::7/64');
    addresses(far, 't0', '10.9.0.2/24', 'fd09::2/64');
    addresses(guest, 'g0', '10.7.0.2/24', 'fd07::2/64');
    host.ip('route add default via 192.0.2.7', 'route add default via 2001:db8::7');
    guest.ip('route add default via 10.7.0.1', 'route add default via fd07::1');
    far.ip('route add default via 10.9.0.1', 'route add default via fd09::1');
    for (const name of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
      host.run('sh', '-c', `echo 1 > /proc/sys/net/${name}`);
    }
    this.guest = guest;
    this.host = host;
    this.outside = outside;
    this.far = far;
    this.netfilter = host.netfilter();
    this.onWire = new RawLink(outside, 77);
    this.onTunnel = new RawLink(far, 77);
  }

  static async make(): Promise<KillSwitchStage> {
    const made = Array.from({ length: 4 }, async () => LabNamespace.make());
    return new KillSwitchStage((await Promise.all(made)) as [LabNamespace, LabNamespace, LabNamespace, LabNamespace]);
  }

  async close(): Promise<void> {
    for (const one of [this.netfilter, this.onWire, this.onTunnel]) one[Symbol.dispose]();
    await Promise.all([this.guest, this.host, this.outside, this.far].map(async (namespace) => namespace.close()));
  }

  /** What leaves by a link while `body` sends, and nothing that does not: two packets that pass are before and behind it. */
  async all(link: RawLink, from: LabNamespace, to: string, body: () => unknown): Promise<string[]> {
    const end = async (): Promise<string[]> => {
      const packet: Packet = { kind: 'udp', to, port: this.#port++ };
      expect(transmit(from, packet)).toBe('sent');
      const texts = await link.untilRead(readPacket, (text) => text === packetText(packet));
      return texts.slice(0, -1);
    };
    await end();
    await body();
    return end();
  }

  /** Each once, and not what the kernel sends by itself. @param from who sends, so that all of it goes one way */
  async onWireSeen(body: () => unknown, from = this.host): Promise<string[]> {
    return ofPrograms(await this.all(this.onWire, from, '203.0.113.99', body));
  }

  async onTunnelSeen(body: () => unknown): Promise<string[]> {
    return ofPrograms(await this.all(this.onTunnel, this.host, '10.9.0.2', body));
  }
}

function addresses(namespace: LabNamespace, link: string, ...prefixes: string[]): void {
  namespace.ip(
    ...prefixes.map((prefix) => `address add ${prefix} dev ${link}${prefix.includes(':') ? ' nodad' : ''}`),
    `link set ${link} up`,
  );
}

/** Neighbour discovery and multicast listeners, of which the host's own kernel sends too; what it does is no program's. */
const OWN = /^icmpv6 (?:13[3-6]|143) /;

function ofPrograms(texts: readonly string[]): string[] {
  return [...new Set(texts)].filter((text) => !OWN.test(text)).toSorted();
}

/** One for all tests of a file, without a kill switch at the beginning of each. @param begin is given it */
export function useKillSwitchStage(begin: (stage: KillSwitchStage) => void): void {
  let stage: KillSwitchStage | undefined;
  beforeAll(async () => {
    stage = await KillSwitchStage.make();
    begin(stage);
  });
  beforeEach(() => {
    if (stage !== undefined) removeFirewall(stage.netfilter, 'kill switch', 't0');
  });
  afterAll(() => stage?.close());
}
