import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Body,
  buildFragments,
  buildFrame,
  buildIpv6,
  type Frame,
  readFragment,
  reassemble,
} from '../../../lab/frame.ts';
import { LabNamespace } from '../../../lab/namespace.ts';
import { RawLink } from '../../../lab/raw-link.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parsePrefix } from '../../addr/prefix.ts';
import { closeService, openService, type ServiceSockets } from '../../linux/inet/service.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { PacketLog } from '../../linux/nflog/log.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { addRuleset, removeRuleset, replaceRuleset } from '../../linux/nftables/ruleset.ts';
import { recvNow } from '../../linux/syscall.ts';
import type { Ruleset } from '../../plan/ruleset.ts';
import { compilePolicy } from '../policy/compile.ts';
import { attachmentElements, policyRuleset, transmitLimitElement } from './elements.ts';
import { ROUTER_TABLE } from './names.ts';
import { routerRuleset } from './router.ts';

/*
 *   wire                router                          host
 *   ┌──────────┐        ┌───────────────────────┐       ┌────────────────┐
 *   │ w1 (raw) │────────│ s1      10.12.0.2/31  │       │                │
 *   │          │        │ uplink  10.9.0.2/30   │───────│ cv0 (raw)      │
 *   │ w2 (raw) │────────│ s2      10.12.0.4/31  │       │                │
 *   └──────────┘        └───────────────────────┘       └────────────────┘
 *
 * On s1 a guest has 169.254.0.21 and is 10.11.0.1 outside; on s2 processes have 10.11.0.2 themselves. Frames go in at
 * one end and are seen at another, with every checksum verified.
 */

const SANDBOX = '02:cf:00:00:00:02';
const ROUTER = '02:cf:00:00:00:01';
const HOST = '02:cf:00:00:00:0a';
const UPLINK = '02:cf:00:00:00:0b';
const GUEST = '169.254.0.21';
const OUTSIDE = '192.0.2.7';
const RESOLVER = '10.12.0.1';
const UNREACHABLE = 3;
const FRAGMENTATION_NEEDED = 4;
const ECHO = 8;

const OPTIONS = {
  probePort: 51_840,
  uplink: 'uplink',
  reportGroup: 7,
  maxFlows: 1000,
  resolver: parseIpv4(RESOLVER),
  host: parseIpv4('10.11.0.0'),
};

let router: LabNamespace;
let wire: LabNamespace;
let host: LabNamespace;
let netfilter: NetlinkSocket;
let w1: RawLink;
let w2: RawLink;
let cable: RawLink;

const OPEN = 1;
const NONE = 2;
const policies = [
  policyRuleset(OPEN, compilePolicy({ egress: 'open', allow: [], deny: [] }, [parsePrefix('10.11.0.0/16')]), 'open'),
  policyRuleset(NONE, compilePolicy({ egress: 'none', allow: [], deny: [] }, []), 'none'),
];

/** A sandbox's part of the table. */
function attached(slot: number, wireAddress: string, policy: number): Ruleset {
  const elements = attachmentElements({
    index: 10_000 + slot,
    wireAddress: parseIpv4(wireAddress),
    hostAddress: parseIpv4(`10.11.0.${slot}`),
    policy,
    comment: `a${slot} generation 1`,
  });
  return { table: ROUTER_TABLE, sets: [], chains: [], elements };
}

beforeAll(async () => {
  [router, wire, host] = await Promise.all([LabNamespace.make(), LabNamespace.make(), LabNamespace.make()]);
  wire.withoutIpv6();
  host.withoutIpv6();
  router.ip(
    `link add s1 index 10001 address ${ROUTER} type veth peer name w1 index 11 address ${SANDBOX} netns ${wire.pid}`,
    `link add s2 index 10002 address ${ROUTER} type veth peer name w2 index 12 address ${SANDBOX} netns ${wire.pid}`,
    `link add uplink index 20 address ${UPLINK} type veth peer name cv0 index 21 address ${HOST} netns ${host.pid}`,
    ...['s1', 's2', 'uplink'].map((name) => `link set ${name} addrgenmode none up`),
  );
  wire.ip('link set w1 up', 'link set w2 up');
  host.ip('link set cv0 up');
  router.ip(
    `address add ${RESOLVER}/32 dev lo`,
    'address add 10.12.0.2/31 dev s1',
    'address add 10.12.0.4/31 dev s2',
    'address add 10.9.0.2/30 dev uplink',
    `neighbour add 10.12.0.3 lladdr ${SANDBOX} dev s1 nud permanent`,
    `neighbour add 10.12.0.5 lladdr ${SANDBOX} dev s2 nud permanent`,
    `neighbour add 10.9.0.1 lladdr ${HOST} dev uplink nud permanent`,
    'route add 10.11.0.1/32 via 10.12.0.3 dev s1',
    'route add 10.11.0.2/32 via 10.12.0.5 dev s2',
    'route add default via 10.9.0.1 dev uplink',
  );
  router.forward();
  netfilter = router.netfilter();
  w1 = new RawLink(wire, 11);
  w2 = new RawLink(wire, 12);
  cable = new RawLink(host, 21);
});

/** Counters and the connection table start anew. */
beforeEach(() => {
  applyTransaction(netfilter, [
    ...replaceRuleset(routerRuleset(OPTIONS)),
    ...policies.flatMap(addRuleset),
    ...addRuleset(attached(1, GUEST, OPEN)),
    ...addRuleset(attached(2, '10.11.0.2', OPEN)),
  ]);
});

afterAll(async () => {
  for (const resource of [netfilter, w1, w2, cable]) resource[Symbol.dispose]();
  await Promise.all([router.close(), wire.close(), host.close()]);
});

let nextPort = 20_000;

/** Every flow is one that conntrack has not seen. */
function udp(text: string): Body {
  return { kind: 'udp', from: nextPort++, to: 53, text };
}

function error(type: number, code: number, quoted: { from: string; to: string }): Body {
  return { kind: 'icmp', type, code, quoted: { ...quoted, ports: [nextPort++, 53] } };
}

function fromSandbox(from: string, to: string, body: Body, mac: string = SANDBOX): Uint8Array {
  return buildFrame({ ether: { from: mac, to: ROUTER }, from, to, body });
}

function fromHost(from: string, to: string, body: Body): Uint8Array {
  return buildFrame({ ether: { from: HOST, to: UPLINK }, from, to, body });
}

function isText(text: string): (frame: Frame) => boolean {
  return ({ body }) => body.kind === 'udp' && body.text === text;
}

const isError = ({ body }: Frame): boolean => body.kind === 'icmp';

/** packets that the chain's first rule counted */
function counted(chain: string): number {
  const { nftables } = JSON.parse(router.run('nft', '-j', 'list', 'chain', 'inet', 'culvert', chain)) as {
    nftables: { rule?: { expr: { counter?: { packets: number } }[] } }[];
  };
  return (
    nftables.flatMap(({ rule }) => rule?.expr ?? []).find(({ counter }) => counter !== undefined)?.counter?.packets ??
    -1
  );
}

/** What arrives on the cable after the sandbox sent `frames` and then one that passes, that one left out. */
async function leaked(link: RawLink, frames: readonly Uint8Array[]): Promise<Frame[]> {
  for (const frame of frames) link.send(frame);
  link.send(
    link === w1 ? fromSandbox(GUEST, OUTSIDE, udp('passes')) : fromSandbox('10.11.0.2', OUTSIDE, udp('passes')),
  );
  return (await cable.until(isText('passes'))).slice(0, -1);
}

it('does not send back to the host what it sends to an address of nobody', async () => {
  cable.send(fromHost(OUTSIDE, '10.11.0.99', udp('lost')));
  expect(await leaked(w1, [])).toEqual([]);
});

describe('translation', () => {
  it('gives a guest its outside address, and back', async () => {
    w1.send(fromSandbox(GUEST, OUTSIDE, udp('out')));
    const [out] = await cable.until(isText('out'));
    expect(out).toMatchObject({ from: '10.11.0.1', to: OUTSIDE, ether: { from: UPLINK, to: HOST } });
    cable.send(fromHost(OUTSIDE, '10.11.0.1', udp('in')));
    const [back] = await w1.until(isText('in'));
    expect(back).toMatchObject({ from: OUTSIDE, to: GUEST, ether: { from: ROUTER, to: SANDBOX } });
  });

  it('leaves a namespace the address that it has', async () => {
    w2.send(fromSandbox('10.11.0.2', OUTSIDE, udp('out')));
    expect(await cable.until(isText('out'))).toMatchObject([{ from: '10.11.0.2', to: OUTSIDE }]);
    cable.send(fromHost(OUTSIDE, '10.11.0.2', udp('in')));
    expect(await w2.until(isText('in'))).toMatchObject([{ from: OUTSIDE, to: '10.11.0.2' }]);
  });

  it('reaches what an ICMP error quotes, on the way in', async () => {
    cable.send(
      fromHost(
        '198.51.100.1',
        '10.11.0.1',
        error(UNREACHABLE, FRAGMENTATION_NEEDED, { from: '10.11.0.1', to: OUTSIDE }),
      ),
    );
    expect(await w1.until(isError)).toMatchObject([
      {
        from: '198.51.100.1',
        to: GUEST,
        body: { type: UNREACHABLE, code: FRAGMENTATION_NEEDED, quoted: { from: GUEST, to: OUTSIDE } },
      },
    ]);
  });

  it('reaches what an ICMP error quotes, on the way out', async () => {
    w1.send(fromSandbox(GUEST, OUTSIDE, error(UNREACHABLE, 3, { from: OUTSIDE, to: GUEST })));
    expect(await cable.until(isError)).toMatchObject([
      { from: '10.11.0.1', to: OUTSIDE, body: { quoted: { from: OUTSIDE, to: '10.11.0.1' } } },
    ]);
  });

  it('makes errors of the namespace in front of a guest errors of the sandbox', async () => {
    w1.send(fromSandbox('10.12.0.3', OUTSIDE, error(UNREACHABLE, FRAGMENTATION_NEEDED, { from: OUTSIDE, to: GUEST })));
    expect(await cable.until(isError)).toMatchObject([
      { from: '10.11.0.1', to: OUTSIDE, body: { quoted: { from: OUTSIDE, to: '10.11.0.1' } } },
    ]);
  });
});

describe('a sandbox', () => {
  const cases: [string, () => RawLink, () => Uint8Array][] = [
    ['from an address that is not its own', () => w1, () => fromSandbox('10.11.0.9', OUTSIDE, udp('spoof'))],
    ['from its neighbour', () => w1, () => fromSandbox('10.11.0.2', OUTSIDE, udp('spoof'))],
    ['from a neighbour inside', () => w2, () => fromSandbox(GUEST, OUTSIDE, udp('spoof'))],
    ['from the outside address of its own', () => w1, () => fromSandbox('10.11.0.1', OUTSIDE, udp('spoof'))],
    ['from its address on the link', () => w1, () => fromSandbox('10.12.0.3', OUTSIDE, udp('spoof'))],
    ["from the router's address", () => w1, () => fromSandbox('10.12.0.2', OUTSIDE, udp('spoof'))],
    [
      'from a MAC address that is not its own',
      () => w1,
      () => fromSandbox(GUEST, OUTSIDE, udp('spoof'), '02:cf:00:00:00:03'),
    ],
    [
      'an error about a packet that it was not sent',
      () => w1,
      () => fromSandbox(GUEST, OUTSIDE, error(UNREACHABLE, 3, { from: OUTSIDE, to: '10.11.0.2' })),
    ],
    [
      'an error from another link',
      () => w1,
      () => fromSandbox('10.12.0.5', OUTSIDE, error(UNREACHABLE, 3, { from: OUTSIDE, to: GUEST })),
    ],
  ];

  it.each(cases)('cannot send %s', async (_, link, frame) => {
    expect(await leaked(link(), [frame(), frame()])).toEqual([]);
    expect(counted('spoofed')).toBe(2);
  });

  it('cannot speak IPv6', async () => {
    expect(await leaked(w1, [buildIpv6({ from: SANDBOX, to: ROUTER })])).toEqual([]);
    expect(counted('other_families')).toBe(1);
  });

  it('cannot reach its neighbour, whose answers would pass', async () => {
    w1.send(fromSandbox(GUEST, '10.11.0.2', udp('to the neighbour')));
    cable.send(fromHost(OUTSIDE, '10.11.0.2', udp('in')));
    expect(await w2.until(isText('in'))).toHaveLength(1);
    expect(counted('denied')).toBe(1);
  });

  it('reaches no port of the router, but may ask whether it is there', async () => {
    w1.send(fromSandbox(GUEST, '10.9.0.2', udp('to the router')));
    w1.send(fromSandbox(GUEST, '10.9.0.2', error(ECHO, 0, { from: GUEST, to: '10.9.0.2' })));
    const [reply] = await w1.until(isError);
    expect(reply).toMatchObject({ from: '10.9.0.2', to: GUEST, body: { type: 0 } });
    expect(counted('denied')).toBe(1);
  });
});

describe('the resolver', () => {
  let sockets: ServiceSockets;

  beforeEach(() => {
    sockets = router.within(() => openService(parseIpv4(RESOLVER), 53));
  });
  afterEach(() => closeService(sockets));

  /** The texts of what has come in. */
  function heard(): string[] {
    const buffer = new Uint8Array(512);
    const texts: string[] = [];
    for (;;) {
      const length = recvNow(sockets.udp, buffer, 0);
      if (length === undefined) return texts;
      texts.push(Buffer.from(buffer.subarray(0, length)).toString());
    }
  }

  it('is asked by each sandbox, whatever its policy, and by nobody else', async () => {
    applyTransaction(netfilter, [...removeRuleset(attached(1, GUEST, OPEN)), ...addRuleset(attached(1, GUEST, NONE))]);
    cable.send(fromHost(OUTSIDE, RESOLVER, udp('of the outside')));
    w1.send(fromSandbox(GUEST, '10.12.0.2', udp('at the gateway')));
    w1.send(fromSandbox(GUEST, RESOLVER, { kind: 'udp', from: 9, to: 5353, text: 'at another port' }));
    w1.send(fromSandbox(GUEST, RESOLVER, { kind: 'syn', from: nextPort++, to: 5353, segment: 1000 }));
    w1.send(fromSandbox(GUEST, RESOLVER, udp('of a guest')));
    w2.send(fromSandbox('10.11.0.2', RESOLVER, udp('of processes')));
    const all: string[] = [];
    await expect.poll(() => all.push(...heard()) && all.toSorted()).toEqual(['of a guest', 'of processes']);
    await expect.poll(() => counted('denied')).toBe(3);
  });

  it('hears one sandbox beside the flood of another', async () => {
    for (let count = 0; count < 3000; count++) {
      w1.send(fromSandbox(GUEST, RESOLVER, { kind: 'udp', from: 9, to: 53, text: 'flood' }));
    }
    w2.send(fromSandbox('10.11.0.2', RESOLVER, udp('of the other')));
    const all: string[] = [];
    await expect.poll(() => all.push(...heard()) && all).toContain('of the other');
    expect(counted('asked')).toBeGreaterThan(1000);
  });

  it('hears no more flows of a sandbox than it may have', async () => {
    applyTransaction(netfilter, [
      ...replaceRuleset(routerRuleset({ ...OPTIONS, maxFlows: 10 })),
      ...policies.flatMap(addRuleset),
      ...addRuleset(attached(1, GUEST, OPEN)),
    ]);
    for (let count = 0; count < 30; count++) w1.send(fromSandbox(GUEST, RESOLVER, udp('one of many')));
    await expect.poll(() => counted('crowded')).toBe(20);
    expect(heard()).toHaveLength(10);
  });
});

describe('a policy', () => {
  it('changes in one step, and lets answers pass', async () => {
    applyTransaction(netfilter, [...removeRuleset(attached(1, GUEST, OPEN)), ...addRuleset(attached(1, GUEST, NONE))]);
    w1.send(fromSandbox(GUEST, OUTSIDE, udp('denied')));
    cable.send(fromHost(OUTSIDE, '10.11.0.1', { kind: 'udp', from: 53, to: 9, text: 'question' }));
    await w1.until(isText('question'));
    w1.send(fromSandbox(GUEST, OUTSIDE, { kind: 'udp', from: 9, to: 53, text: 'answer' }));
    expect(await cable.until(isText('answer'))).toHaveLength(1);
    expect(counted('denied')).toBe(1);
  });

  it('goes with its chain and its set', () => {
    const [, none] = policies;
    if (none !== undefined) applyTransaction(netfilter, removeRuleset(none));
    expect(router.run('nft', 'list', 'table', 'inet', 'culvert')).not.toContain('egress-2');
  });

  it('that is not there cannot be taken out, and nothing changes', () => {
    const before = router.run('nft', '-j', 'list', 'table', 'inet', 'culvert');
    expect(() => applyTransaction(netfilter, removeRuleset(policyRuleset(3, [], 'absent')))).toThrow(
      /^Cannot delete element \(absent\) of set policies in table inet culvert: ENOENT/,
    );
    expect(router.run('nft', '-j', 'list', 'table', 'inet', 'culvert')).toBe(before);
  });
});

it('keeps the fragments of guests apart that have one address', async () => {
  applyTransaction(netfilter, [
    ...removeRuleset(attached(2, '10.11.0.2', OPEN)),
    ...addRuleset(attached(2, GUEST, OPEN)),
  ]);
  const fragments = (text: string): [Uint8Array, Uint8Array] => {
    const body: Body = { kind: 'udp', from: 1000, to: 53, text };
    return buildFragments({ ether: { from: SANDBOX, to: ROUTER }, from: GUEST, to: OUTSIDE, body }, 16, 77);
  };
  const [first, last] = fragments('text of guest one');
  const [otherFirst, otherLast] = fragments('words of another');
  w1.send(first);
  w2.send(otherLast);
  w2.send(otherFirst);
  w1.send(last);
  // the router puts them together, and takes them apart again when it sends them on
  let count = 0;
  const arrived = await cable.untilRead(readFragment, () => ++count === 4);
  const textOf = (address: string) => reassemble(arrived.filter(({ from }) => from === address));
  expect(textOf('10.11.0.1')).toMatchObject({ text: 'text of guest one' });
  expect(textOf('10.11.0.2')).toMatchObject({ text: 'words of another' });
});

it('cuts a sandbox off both ways when its elements go', async () => {
  cable.send(fromHost(OUTSIDE, '10.11.0.1', { kind: 'udp', from: 53, to: 10, text: 'question' }));
  await w1.until(isText('question'));
  applyTransaction(netfilter, removeRuleset(attached(1, GUEST, OPEN)));
  // the flow is established, and the route still there
  w1.send(fromSandbox(GUEST, OUTSIDE, { kind: 'udp', from: 10, to: 53, text: 'answer' }));
  cable.send(fromHost(OUTSIDE, '10.11.0.1', { kind: 'udp', from: 53, to: 10, text: 'again' }));
  expect(await leaked(w2, [])).toEqual([]);
  await expect.poll(() => [counted('spoofed'), counted('unreachable')]).toEqual([1, 1]);
});

it('loses what a sandbox sends beyond its limit, and nothing before', async () => {
  const limit = { rate: 1_000, burst: 50_000 };
  const limited = { ...attached(1, GUEST, OPEN), elements: [transmitLimitElement(10_001, limit, 'a1')] };
  applyTransaction(netfilter, addRuleset(limited));
  const text = 'x'.repeat(1_400);
  for (let count = 0; count < 100; count++) {
    w1.send(fromSandbox(GUEST, OUTSIDE, { kind: 'udp', from: 2_000 + count, to: 53, text }));
  }
  let passed = 0;
  await cable.until(({ body }) => body.kind === 'udp' && body.text === text && ++passed === 30);
  // 35 of them are 50,000 bytes; each second that this takes lets one more pass
  await expect.poll(() => counted('from_cable')).toBeGreaterThan(50);
  expect(counted('from_cable')).toBeLessThanOrEqual(66);
  applyTransaction(netfilter, removeRuleset(limited));
  w1.send(fromSandbox(GUEST, OUTSIDE, { kind: 'udp', from: 10, to: 53, text: 'free again' }));
  await cable.until(isText('free again'));
});

it('reports the one packet of a sandbox beside the flood of another', async () => {
  using log = router.within(() => new PacketLog(7));
  const spoof = (): Uint8Array => fromSandbox('198.51.100.7', OUTSIDE, udp('spoof'));
  for (let count = 0; count < 2_000; count++) w1.send(spoof());
  w2.send(spoof());
  const links: (number | undefined)[] = [];
  await expect.poll(() => links.push(...log.poll(2_000).map(({ inLink }) => inLink)) > 0 && links).toContain(10_002);
  const ofFlood = links.filter((link) => link === 10_001).length;
  expect(ofFlood).toBeGreaterThanOrEqual(40);
  expect(ofFlood).toBeLessThan(1_000);
  expect(counted('spoofed')).toBe(2_001);
});

it('clamps the segment size to the route, both ways', async () => {
  router.ip('link set s1 mtu 1300');
  const syn = (): Body => ({ kind: 'syn', from: nextPort++, to: 80, segment: 1460 });
  const isSyn = ({ body }: Frame): boolean => body.kind === 'syn';
  w1.send(fromSandbox(GUEST, OUTSIDE, syn()));
  expect(await cable.until(isSyn)).toMatchObject([{ from: '10.11.0.1', body: { segment: 1260 } }]);
  cable.send(fromHost(OUTSIDE, '10.11.0.1', syn()));
  expect(await w1.until(isSyn)).toMatchObject([{ to: GUEST, body: { segment: 1260 } }]);
});
