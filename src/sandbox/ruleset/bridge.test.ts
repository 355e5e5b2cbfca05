import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Body, buildArp, buildFrame, buildIpv6, type Frame, readArp } from '../../../lab/frame.ts';
import { LabNamespace } from '../../../lab/namespace.ts';
import { RawLink } from '../../../lab/raw-link.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { formatMac } from '../../addr/mac.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { PacketLog } from '../../linux/nflog/log.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { addRuleset, replaceRuleset } from '../../linux/nftables/ruleset.ts';
import { compilePolicy } from '../policy/compile.ts';
import { BRIDGE, BRIDGE_MAC, bridgeMac } from '../topology/layout.ts';
import { bridgeRuleset } from './bridge.ts';
import { attachmentElements, policyRuleset, portElements } from './elements.ts';
import { BRIDGE_TABLE, ROUTER_TABLE } from './names.ts';
import { routerRuleset } from './router.ts';

/*
 *   wire                router                                 host
 *   ┌──────────┐        ┌──────────────────────────────┐       ┌───────────┐
 *   │ w3 (raw) │────────│ s3 ┐                         │       │           │
 *   │          │        │    ├ rt0 10.8.64.1/24  uplink│───────│ cv0 (raw) │
 *   │ w4 (raw) │────────│ s4 ┘                         │       │           │
 *   └──────────┘        └──────────────────────────────┘       └───────────┘
 *
 * 10.8.64.3 is on s3 and 10.8.64.4 on s4. The ports are not isolated here: the rules alone keep them apart.
 */

const GATEWAY = formatMac(BRIDGE_MAC);
const HOST = '02:cf:00:00:00:0a';
const UPLINK = '02:cf:00:00:00:0b';
const OUTSIDE = '192.0.2.7';
const EVERYONE = 'ff:ff:ff:ff:ff:ff';
const OWN = '10.8.64.3';
const OTHER = '10.8.64.4';
const OWN_MAC = formatMac(bridgeMac(parseIpv4(OWN)));
const OTHER_MAC = formatMac(bridgeMac(parseIpv4(OTHER)));
const OPEN = 1;

let router: LabNamespace;
let wire: LabNamespace;
let host: LabNamespace;
let netfilter: NetlinkSocket;
let w3: RawLink;
let w4: RawLink;
let cable: RawLink;

beforeAll(async () => {
  [router, wire, host] = await Promise.all([LabNamespace.make(), LabNamespace.make(), LabNamespace.make()]);
  for (const namespace of [router, wire, host]) namespace.withoutIpv6();
  router.ip(
    `link add rt0 index ${BRIDGE.index} address ${GATEWAY} type bridge`,
    `link add s3 index 10003 type veth peer name w3 index 13 address ${OWN_MAC} netns ${wire.pid}`,
    `link add s4 index 10004 type veth peer name w4 index 14 address ${OTHER_MAC} netns ${wire.pid}`,
    `link add uplink index 20 address ${UPLINK} type veth peer name cv0 index 21 address ${HOST} netns ${host.pid}`,
    'link set s3 master rt0',
    'link set s4 master rt0',
    ...['rt0', 's3', 's4', 'uplink'].map((name) => `link set ${name} up`),
    'address add 10.8.64.1/24 dev rt0',
    'address add 10.9.0.2/30 dev uplink',
    `neighbour add ${OWN} lladdr ${OWN_MAC} dev rt0 nud permanent`,
    `neighbour add ${OTHER} lladdr ${OTHER_MAC} dev rt0 nud permanent`,
    `neighbour add 10.9.0.1 lladdr ${HOST} dev uplink nud permanent`,
    'route add default via 10.9.0.1 dev uplink',
  );
  wire.ip('link set w3 up', 'link set w4 up');
  host.ip('link set cv0 up');
  router.untilUp('s3', 's4', 'uplink');
  router.forward();
  netfilter = router.netfilter();
  w3 = new RawLink(wire, 13);
  w4 = new RawLink(wire, 14);
  cable = new RawLink(host, 21);
});

beforeEach(() => {
  const open = compilePolicy({ egress: 'open', allow: [], deny: [] }, []);
  const attached = [OWN, OTHER].map(parseIpv4).map((address, index) => {
    const comment = `b${index + 3} generation 1`;
    return {
      elements: attachmentElements({
        index: BRIDGE.index,
        wireAddress: address,
        hostAddress: address,
        policy: OPEN,
        comment,
      }),
      port: portElements(10_003 + index, bridgeMac(address), address, comment),
    };
  });
  const none = { sets: [], chains: [] };
  applyTransaction(netfilter, [
    ...replaceRuleset(
      routerRuleset({
        probePort: 51_840,
        uplink: 'uplink',
        reportGroup: 7,
        maxFlows: 1000,
        resolver: parseIpv4('10.12.0.1'),
        host: parseIpv4('10.11.0.0'),
      }),
    ),
    ...replaceRuleset(bridgeRuleset({ gateway: parseIpv4('10.8.64.1'), reportGroup: 7 })),
    ...addRuleset(policyRuleset(OPEN, open, 'open')),
    ...addRuleset({ ...none, table: ROUTER_TABLE, elements: attached.flatMap(({ elements }) => elements) }),
    ...addRuleset({ ...none, table: BRIDGE_TABLE, elements: attached.map(({ port }) => port) }),
  ]);
});

afterAll(async () => {
  for (const resource of [netfilter, w3, w4, cable]) resource[Symbol.dispose]();
  await Promise.all([router.close(), wire.close(), host.close()]);
});

let nextPort = 20_000;

function udp(text: string): Body {
  return { kind: 'udp', from: nextPort++, to: 53, text };
}

function error(quoted: { from: string; to: string }): Body {
  return { kind: 'icmp', type: 3, code: 3, quoted: { ...quoted, ports: [nextPort++, 53] } };
}

function frame(from: string, to: string, body: Body, macs: { from?: string; to?: string } = {}): Uint8Array {
  return buildFrame({ ether: { from: OWN_MAC, to: GATEWAY, ...macs }, from, to, body });
}

function arp(sender: { mac: string; ip: string }, mac: string = OWN_MAC): Uint8Array {
  return buildArp({ from: mac, to: EVERYONE }, 1, sender, '10.8.64.1');
}

function isText(text: string): (frame: Frame) => boolean {
  return ({ body }) => body.kind === 'udp' && body.text === text;
}

/** packets that the first counter of the chain has */
function counted(chain: string): number {
  const { nftables } = JSON.parse(router.run('nft', '-j', 'list', 'chain', 'bridge', 'culvert', chain)) as {
    nftables: { rule?: { expr: { counter?: { packets: number } }[] } }[];
  };
  const counters = nftables.flatMap(({ rule }) => rule?.expr ?? []).flatMap(({ counter }) => counter ?? []);
  return counters[0]?.packets ?? -1;
}

it('lets a port speak to the outside, and the outside to it', async () => {
  w3.send(frame(OWN, OUTSIDE, udp('out')));
  expect(await cable.until(isText('out'))).toMatchObject([{ from: OWN, to: OUTSIDE }]);
  cable.send(buildFrame({ ether: { from: HOST, to: UPLINK }, from: OUTSIDE, to: OWN, body: udp('in') }));
  expect(await w3.until(isText('in'))).toMatchObject([
    { from: OUTSIDE, to: OWN, ether: { from: GATEWAY, to: OWN_MAC } },
  ]);
});

it('lets a port ask for the gateway', async () => {
  w3.send(arp({ mac: OWN_MAC, ip: OWN }));
  const [answer] = await w3.untilRead(readArp, ({ operation }) => operation === 2);
  expect(answer).toMatchObject({ sender: { mac: GATEWAY, ip: '10.8.64.1' } });
});

it('hears little ARP from ports, so that a flood drowns no answer', async () => {
  for (let i = 0; i < 5000; i++) w3.send(arp({ mac: OWN_MAC, ip: OWN }));
  w3.send(frame(OWN, OUTSIDE, udp('after')));
  await cable.until(isText('after'));
  expect(counted('arp_from_port')).toBeGreaterThan(0);
  expect(counted('spoofed')).toBe(0);
});

it('lets a port report an error about what it was sent', async () => {
  w3.send(frame(OWN, OUTSIDE, error({ from: OUTSIDE, to: OWN })));
  expect(await cable.until(({ body }) => body.kind === 'icmp')).toMatchObject([{ from: OWN }]);
});

describe('a port', () => {
  const cases: [string, number, Uint8Array][] = [
    ["another's address", 1, frame(OTHER, OUTSIDE, udp('spoof'))],
    ["the gateway's address", 1, frame('10.8.64.1', OUTSIDE, udp('spoof'))],
    ["another's MAC address", 1, frame(OWN, OUTSIDE, udp('spoof'), { from: OTHER_MAC })],
    ["another's both addresses", 1, frame(OTHER, OUTSIDE, udp('spoof'), { from: OTHER_MAC })],
    ["another's address in ARP", 1, arp({ mac: OWN_MAC, ip: OTHER })],
    ["the gateway's address in ARP", 1, arp({ mac: OWN_MAC, ip: '10.8.64.1' })],
    ["another's MAC address in ARP", 1, arp({ mac: OTHER_MAC, ip: OWN })],
    ["another's MAC address on ARP", 1, arp({ mac: OWN_MAC, ip: OWN }, OTHER_MAC)],
    ["an error about another's packet", 1, frame(OWN, OUTSIDE, error({ from: OUTSIDE, to: OTHER }))],
    ['IPv6', 0, buildIpv6({ from: OWN_MAC, to: GATEWAY })],
    ['a probe for an address', 0, arp({ mac: OWN_MAC, ip: '0.0.0.0' })],
  ];

  it.each(cases)('cannot send %s', async (_, reports, spoof) => {
    w3.send(spoof);
    w3.send(frame(OWN, OUTSIDE, udp('passes')));
    expect(await cable.until(isText('passes'))).toHaveLength(1);
    expect(counted('spoofed')).toBe(reports);
  });

  it('reaches no other port', async () => {
    w3.send(frame(OWN, OTHER, udp('across'), { to: OTHER_MAC }));
    w3.send(buildArp({ from: OWN_MAC, to: EVERYONE }, 2, { mac: OWN_MAC, ip: OWN }, OTHER));
    cable.send(buildFrame({ ether: { from: HOST, to: UPLINK }, from: OUTSIDE, to: OTHER, body: udp('in') }));
    expect(await w4.until(isText('in'))).toHaveLength(1);
    expect(counted('forward')).toBe(2);
  });
});

it('tells a question for another’s address from one for the gateway or about its own', () => {
  const ask = (target: string): Uint8Array =>
    buildArp({ from: OWN_MAC, to: EVERYONE }, 1, { mac: OWN_MAC, ip: OWN }, target);
  for (const target of ['10.8.64.1', OWN, OTHER]) w3.send(ask(target));
  expect(counted('denied')).toBe(1);
});

it('reports the one packet of a port beside the flood of another', async () => {
  using log = router.within(() => new PacketLog(7));
  const telnet = (from: string, mac: string): Uint8Array =>
    frame(from, '10.8.64.1', { kind: 'udp', from: nextPort++, to: 23, text: '' }, { from: mac });
  for (let count = 0; count < 2_000; count++) w3.send(telnet(OWN, OWN_MAC));
  w4.send(telnet(OTHER, OTHER_MAC));
  const senders: (number | undefined)[] = [];
  await expect
    .poll(() => senders.push(...log.poll(2_000).map(({ source }) => source)) > 0 && senders)
    .toContain(parseIpv4(OTHER));
  const ofFlood = senders.filter((sender) => sender === parseIpv4(OWN)).length;
  expect(ofFlood).toBeGreaterThanOrEqual(40);
  expect(ofFlood).toBeLessThan(1_000);
});
