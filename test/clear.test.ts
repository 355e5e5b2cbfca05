import { describe, expect, it, vi } from 'vitest';
import { type ClearHost, MTU } from '../lab/clear-host.ts';
import { DatagramSocket } from '../lab/datagram.ts';
import { Endpoint } from '../lab/endpoint/endpoint.ts';
import { buildFrame } from '../lab/frame.ts';
import { formatIpv4 } from '../src/addr/ipv4.ts';
import { formatMac, type Mac } from '../src/addr/mac.ts';
import { NETLINK_NETFILTER } from '../src/linux/netlink/constants.ts';
import { NetlinkSocket } from '../src/linux/netlink/socket.ts';
import { applyTransaction } from '../src/linux/nftables/batch.ts';
import { ClearWay } from '../src/mesh/clear/way.ts';
import { DEFAULT_CLEAR_PORT, directCable } from '../src/mesh/link.ts';
import { ForwardAccept } from '../src/sandbox/host/forward.ts';
import { rootCable } from '../src/sandbox/host/objects.ts';
import { rootTable } from '../src/sandbox/ruleset/names.ts';
import { type ClearHosts, useClearHosts } from './support/clear-hosts.ts';

/* What hosts send each other in clear: see the drawing in support/clear-hosts.ts. */

const FULL = String(MTU - 28);

describe('hosts in clear', { timeout: 60_000 }, () => {
  let hosts: ClearHosts;
  let one: ClearHost;
  let two: ClearHost;
  let stranger: ClearHost;
  let far: ClearHost;
  useClearHosts((made) => {
    hosts = made;
    ({ one, two, stranger, far } = made);
  });

  const tableOf = (host: ClearHost): string => host.root('nft', 'list', 'table', 'inet', 'culvert_clear-main');

  it('reach each other’s sandboxes, on one link without a wrapping and in one otherwise, both ways and in full size', async () => {
    hosts.join({ onLink: true });
    const pairs = [one, two, far].flatMap((host) => [one, two, far].map((other) => [host, other] as const));
    for (const [host, other] of pairs) {
      if (host === other) continue;
      expect(host.ping(other, '-M', 'do', '-s', FULL)).toContain(' 0% packet loss');
    }
    expect(() => one.ping(two, '-M', 'do', '-s', String(MTU - 27), '-W', '1')).toThrow();
    const asking = hosts.opened.use(await Endpoint.start('asking', one.sandbox));
    for (const host of [two, far]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const answering = hosts.opened.use(await Endpoint.start('answering', host.sandbox));
      const question = { to: formatIpv4(host.address), text: 'x'.repeat(MTU - 40), count: 20, waitMs: 5000 };
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { echoes } = await asking.ask(question);
      expect(echoes).toHaveLength(20);
      // nobody has translated its address
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const senders = (await answering.received()).map(({ from }) => from.split(':')[0]);
      expect(new Set(senders)).toEqual(new Set([formatIpv4(one.address)]));
    }
    const counters = (device: string): { rx: { packets: number }; tx: { packets: number } } | undefined =>
      (
        JSON.parse(one.underlay.run(one.router, 'ip', '-j', '-s', 'link', 'show', device)) as {
          stats64: { rx: { packets: number }; tx: { packets: number } };
        }[]
      )[0]?.stats64;
    // what went to the one on the link was not wrapped, and the rest was
    expect(counters('wd-main')?.tx.packets).toBeGreaterThan(20);
    expect(counters('wc-main')?.tx.packets).toBeGreaterThan(20);
    expect(one.root('ss', '-unlH')).toContain(`:${DEFAULT_CLEAR_PORT} `);
    expect(one.root('conntrack', '-L', '-d', formatIpv4(two.address))).toBe('');
    expect(one.root('conntrack', '-L', '-p', 'udp', '--dport', String(DEFAULT_CLEAR_PORT))).toBe('');
  });

  it('have it told by a route how much goes through to one of them', () => {
    hosts.join({ onLink: false });
    one.route(far.peer(false), 1300);
    const routes = one.underlay.run(one.router, 'ip', '-j', 'route', 'show', '10.64.48.0/20');
    expect(JSON.parse(routes)).toMatchObject([
      { dst: '10.64.48.0/20', gateway: '10.64.63.255', dev: 'wc-main', flags: ['onlink'], metrics: [{ mtu: 1300 }] },
    ]);
    expect(() => one.ping(far, '-M', 'do', '-s', '1273')).toThrow(
      expect.objectContaining({ stdout: expect.stringContaining('mtu = 1300') }),
    );
    expect(one.ping(far, '-M', 'do', '-s', '1272')).toContain(' 0% packet loss');
  });

  it('write nothing where nothing differs, and nothing more than what does', () => {
    hosts.join({ onLink: true });
    const peers = [two.peer(true), far.peer(false)];
    const batch = vi.spyOn(NetlinkSocket.prototype, 'batch');
    const transaction = vi.spyOn(NetlinkSocket.prototype, 'transaction');
    try {
      expect(one.bring(peers)).toEqual([]);
      expect(one.inside(() => one.way.update(peers.map((peer) => ({ name: peer.name, peer: { ...peer } }))))).toEqual(
        [],
      );
      expect([batch.mock.calls.length, transaction.mock.calls.length]).toEqual([0, 0]);
      const moved = { ...far.peer(false), endpoint: { ...far.peer(false).endpoint, port: 51_831 } };
      expect(one.inside(() => one.way.update([{ name: 'h4', peer: moved }]))).toEqual([
        'bridge -n router fdb replace 02:cd:0a:40:3f:ff dev wc-main self permanent dst 198.51.100.11 port 51831',
      ]);
      expect(batch.mock.calls.map(([requests]) => requests.length)).toEqual([1]);
      expect(transaction).not.toHaveBeenCalled();
    } finally {
      batch.mockRestore();
      transaction.mockRestore();
    }
  });

  it('hear a peer no more, nor send to it, once it is refused', () => {
    hosts.join({ onLink: true });
    expect(one.inside(() => one.way.update([{ name: 'h2', peer: undefined }]))).toEqual([
      'nft delete element inet culvert_clear-main wrapped { 192.0.2.12 . 10.64.32.0 }',
      'nft delete element inet culvert_clear-main direct { 10.64.32.0 }',
      'ip route delete 10.64.32.0/20 via 192.0.2.12 dev eth0 onlink table 2343801',
      'ip -n router neighbour delete 10.64.47.255 lladdr 02:cd:0a:40:2f:ff dev wc-main nud permanent',
      'ip -n router neighbour delete 10.64.47.255 lladdr 02:cf:00:00:00:05 dev wd-main nud permanent',
      'bridge -n router fdb delete 02:cd:0a:40:2f:ff dev wc-main self',
    ]);
    expect(() => two.ping(one, '-W', '1')).toThrow();
    expect(one.dropped('oifname "wd-main"')).toBe(1);
    two.bring([one.peer(false)]);
    two.route(one.peer(false));
    expect(() => two.ping(one, '-W', '1')).toThrow();
    expect(one.dropped('counter')).toBe(1);
    expect(far.ping(one)).toContain(' 0% packet loss');
    // the same again
    two.bring([one.peer(true)]);
    expect(one.inside(() => one.way.update([{ name: 'h2', peer: two.peer(true) }]))).toHaveLength(6);
    expect(two.ping(one)).toContain(' 0% packet loss');
    expect(one.bring([two.peer(true), far.peer(false)])).toEqual([]);
  });

  it('take nothing from one that bears the address of another, nor from a stranger', async () => {
    hosts.join({ onLink: false });
    const target = { address: one.meshAddress, port: 7000 };
    const heard = one.insideRouter(() => hosts.opened.use(new DatagramSocket(target)));
    const send = (from: ClearHost, source: string, text: string): void => {
      using socket = from.underlay.inside(
        from.place,
        () => new DatagramSocket({ address: from.place.address, port: 0 }),
      );
      socket.send(
        { address: one.place.address, port: DEFAULT_CLEAR_PORT },
        wrapped(source, formatIpv4(one.meshAddress), text),
      );
    };
    send(two, formatIpv4(far.address), 'as h4');
    send(two, formatIpv4(one.address), 'as the host itself');
    send(two, '192.0.2.1', 'as an address of none');
    send(two, formatIpv4(far.address), `in fragments ${'x'.repeat(3000)}`);
    send(stranger, formatIpv4(two.address), 'as h2');
    send(stranger, formatIpv4(stranger.address), 'as itself');
    expect(one.dropped('counter')).toBe(6);
    send(two, formatIpv4(two.address), 'as h2 itself');
    expect(await heard.until('as h2 itself')).toEqual(['as h2 itself']);
    // what is no IPv4 is dropped as well: an ARP reply would say who has an address
    const arp = wrapped(formatIpv4(two.address), formatIpv4(one.meshAddress), 'x');
    arp.set([0x08, 0x06], 8 + 12);
    using socket = two.inside(() => new DatagramSocket({ address: two.place.address, port: 0 }));
    socket.send({ address: one.place.address, port: DEFAULT_CLEAR_PORT }, arp);
    expect(one.dropped('counter')).toBe(7);
  });

  it('take nothing from the link that is not a neighbour’s, and nothing that is not for sandboxes', () => {
    hosts.join({ onLink: true });
    const ping =
      (from: ClearHost, source: string, target: string): (() => string) =>
      () =>
        from.root('ping', '-c', '1', '-W', '1', '-I', source, target);
    stranger.root('ip', 'address', 'add', '10.64.80.9/32', 'dev', 'lo');
    stranger.root('ip', 'address', 'add', '10.64.48.9/32', 'dev', 'lo');
    stranger.root('ip', 'route', 'add', '10.64.16.0/20', 'via', '192.0.2.11');
    // as nobody's peer, and as one that is a peer but none of the link
    expect(ping(stranger, '10.64.80.9', formatIpv4(one.address))).toThrow();
    expect(ping(stranger, '10.64.48.9', formatIpv4(one.address))).toThrow();
    expect(one.dropped('oifname "wd-main"')).toBe(2);
    // as what is of no host: the way of others, which their rule closes
    expect(ping(stranger, '192.0.2.13', formatIpv4(one.address))).toThrow();
    expect(one.dropped('oifname "wd-main"')).toBe(2);
    // nothing is passed on from one host to the next
    stranger.root('ip', 'route', 'add', '10.64.32.0/20', 'via', '192.0.2.11');
    stranger.root('ip', 'address', 'add', '10.64.16.9/32', 'dev', 'lo');
    two.root('nft', 'add', 'table', 'inet', 'watch');
    two.root('nft', 'add', 'chain', 'inet', 'watch', 'c', '{ type filter hook prerouting priority -500; }');
    two.root('nft', 'add', 'rule', 'inet', 'watch', 'c', 'ip', 'daddr', '10.64.32.0/20', 'counter');
    expect(ping(stranger, '10.64.16.9', formatIpv4(two.address))).toThrow();
    expect(two.root('nft', 'list', 'table', 'inet', 'watch')).toContain('counter packets 0');
  });

  it('send nothing by another way, where a way has gone', () => {
    hosts.join({ onLink: true });
    one.root('nft', 'add', 'table', 'inet', 'watch');
    one.root('nft', 'add', 'chain', 'inet', 'watch', 'c', '{ type filter hook postrouting priority 500; }');
    one.root(
      'nft',
      'add',
      'rule',
      'inet',
      'watch',
      'c',
      'oifname',
      'eth0',
      'ip',
      'daddr',
      '!=',
      '224.0.0.0/4',
      'counter',
    );
    one.root('ip', 'route', 'flush', 'table', '2343801');
    expect(() => one.ping(two, '-W', '1')).toThrow();
    one.underlay.run(one.router, 'bridge', 'fdb', 'del', '02:cd:0a:40:3f:ff', 'dev', 'wc-main', 'dst', '198.51.100.11');
    expect(() => one.ping(far, '-W', '1')).toThrow();
    expect(one.root('nft', 'list', 'table', 'inet', 'watch')).toContain('counter packets 0');
    // what is to go and has gone is no failure
    one.inside(() => one.way.update([{ name: 'h2', peer: undefined }]));
    one.inside(() => one.way.update([{ name: 'h4', peer: undefined }]));
    expect(one.bring([])).toEqual(['ip route add 10.64.16.0/20 via 169.254.77.1 dev wd-main onlink table 2343801']);
  });

  it('are put right where others have changed them', () => {
    hosts.join({ onLink: true });
    const peers = [two.peer(true), far.peer(false)];
    const router = (...command: string[]): string => one.underlay.run(one.router, ...command);
    router('ip', 'neighbour', 'delete', '10.64.47.255', 'dev', 'wc-main');
    router('ip', 'neighbour', 'add', '10.64.33.0', 'lladdr', '02:cd:0a:40:2f:ff', 'dev', 'wc-main', 'nud', 'permanent');
    router('bridge', 'fdb', 'append', '00:00:00:00:00:00', 'dev', 'wc-main', 'dst', '192.0.2.66', 'self', 'permanent');
    router('bridge', 'fdb', 'replace', '02:cd:0a:40:3f:ff', 'dev', 'wc-main', 'dst', '192.0.2.66', 'self', 'permanent');
    router('ip', 'link', 'set', 'wd-main', 'mtu', '1300');
    router('sysctl', '-qw', 'net.ipv4.conf.wc-main.rp_filter=2');
    one.root('ip', 'route', 'delete', '10.64.32.0/20', 'table', '2343801');
    one.root('ip', 'rule', 'delete', 'priority', '1001');
    one.root('ip', 'rule', 'add', 'priority', '7', 'iif', 'lo', 'lookup', '2343801');
    one.root('nft', 'add', 'element', 'inet', 'culvert_clear-main', 'wrapped', '{ 192.0.2.66 . 10.64.48.0 }');
    one.root('nft', 'delete', 'element', 'inet', 'culvert_clear-main', 'direct', '{ 10.64.32.0 }');
    const differing = one.bring(peers, { dryRun: true });
    expect(one.bring(peers, { dryRun: true })).toEqual(differing);
    const done = one.bring(peers);
    expect(done).toEqual(differing);
    expect(done.toSorted()).toEqual(
      [
        'nft delete element inet culvert_clear-main wrapped { 192.0.2.66 . 10.64.48.0 }',
        'nft add element inet culvert_clear-main direct { 10.64.32.0 }',
        'ip rule delete priority 7 iif lo lookup 2343801',
        'ip rule add priority 1001 iif wd-main blackhole',
        'ip link change wd-main index 2343801 address 02:cf:00:00:00:05 mtu 1420 up type veth peer wd-main index 9995 address 02:cf:00:00:00:06 mtu 1420 up netns router',
        'sysctl -w net/ipv4/conf/wc-main/rp_filter=0',
        'ip -n router neighbour delete 10.64.33.0 lladdr 02:cd:0a:40:2f:ff dev wc-main nud permanent',
        'bridge -n router fdb delete 00:00:00:00:00:00 dev wc-main self',
        'bridge -n router fdb replace 02:cd:0a:40:3f:ff dev wc-main self permanent dst 198.51.100.11 port 51830',
        'ip -n router neighbour add 10.64.47.255 lladdr 02:cd:0a:40:2f:ff dev wc-main nud permanent',
        'ip route add 10.64.32.0/20 via 192.0.2.12 dev eth0 onlink table 2343801',
      ].toSorted(),
    );
    expect(one.bring(peers)).toEqual([]);
    one.root('nft', 'flush', 'ruleset');
    expect(one.inside(() => one.way.haveRulesChanged())).toBe(true);
    expect(one.bring(peers)[0]).toBe('replace table inet culvert_clear-main');
    one.underlay.run(one.router, 'ip', 'link', 'delete', 'wc-main');
    one.underlay.run(one.router, 'ip', 'link', 'delete', 'wd-main');
    one.bring(peers);
    for (const peer of peers) one.route(peer);
    expect(one.bring(peers)).toEqual([]);
    for (const other of [two, far]) expect(one.ping(other)).toContain(' 0% packet loss');
  });

  it('are taken over as they are by who remembers nothing, and keep what that one does not know', () => {
    hosts.join({ onLink: true });
    one.way[Symbol.dispose]();
    one.way = one.open();
    expect(one.bring([], { removes: false })).toEqual([]);
    for (const other of [two, far]) expect(one.ping(other)).toContain(' 0% packet loss');
    // one that it is told of, and has already
    expect(one.inside(() => one.way.update([{ name: 'h4', peer: far.peer(false) }]))).toHaveLength(2);
    expect(one.bring([two.peer(true), far.peer(false)])).toEqual([]);
    expect(one.bring([far.peer(false)])).toHaveLength(6);
    expect(() => two.ping(one, '-W', '1')).toThrow();
    expect(far.ping(one)).toContain(' 0% packet loss');
  });

  it('leave nothing behind', () => {
    const seen = (): string[] => [
      one.root('ip', '-j', 'rule'),
      one.root('ip', '-j', 'route', 'show', 'table', 'all'),
      one.root('ip', '-br', 'link'),
      one.root('ip', 'neighbour', 'show', 'nud', 'permanent'),
      one.root('nft', 'list', 'ruleset'),
      one.root('ss', '-unlH'),
      // a bridge without ports is said to be up until the kernel looks after its carrier
      one.underlay
        .run(one.router, 'ip', '-br', 'link')
        .replace(/^(rt0 +).*(?= \d\d:)/mu, '$1')
        .replace(/<.*>/gu, ''),
    ];
    const before = seen();
    hosts.join({ onLink: true });
    expect(tableOf(one)).toContain('10.64.32.0');
    one.inside(() => ClearWay.remove({ kernel: one.kernel, instance: 'main' }));
    expect(seen()).toEqual(before);
    one.inside(() => ClearWay.remove({ kernel: one.kernel, instance: 'main' }));
  });

  it('reach each other also where somebody lets nothing be forwarded', () => {
    hosts.join({ onLink: true });
    one.root('nft', 'add', 'table', 'ip', 'filter');
    one.root('nft', 'add', 'chain', 'ip', 'filter', 'FORWARD', '{ type filter hook forward priority 0; policy drop; }');
    expect(() => one.ping(two, '-W', '1')).toThrow();
    one.inside(() => {
      using netfilter = new NetlinkSocket(NETLINK_NETFILTER);
      const accept = new ForwardAccept(netfilter, rootTable('main'), rootCable('main').name, {
        direct: directCable('main').name,
      });
      applyTransaction(netfilter, accept.missing());
      expect(accept.missing()).toEqual([]);
    });
    expect(one.ping(two)).toContain(' 0% packet loss');
    expect(two.ping(one)).toContain(' 0% packet loss');
  });

  /** A VXLAN packet for h1's link. */
  function wrapped(from: string, to: string, text: string): Uint8Array {
    const mac = formatMac(Uint8Array.of(0x02, 0xcd, ...to.split('.').map(Number)) as Mac);
    const ether = { from: '02:cd:0a:40:2f:ff', to: mac };
    const frame = buildFrame({ ether, from, to, body: { kind: 'udp', from: 7001, to: 7000, text } });
    return Uint8Array.of(0x08, 0, 0, 0, 0, 0, 1, 0, ...frame);
  }
});
