import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Body, buildFragments, buildIpv6, type Frame, readFragment, reassemble } from '../../../lab/frame.ts';
import { RawLink } from '../../../lab/raw-link.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { closeService, openService, type ServiceSockets } from '../../linux/inet/service.ts';
import { PacketLog } from '../../linux/nflog/log.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { addRuleset, removeRuleset, replaceRuleset } from '../../linux/nftables/ruleset.ts';
import { recvNow } from '../../linux/syscall.ts';
import { policyRuleset, transmitLimitElement } from './elements.ts';
import { routerRuleset } from './router.ts';
import {
  attached,
  ECHO,
  error,
  FRAGMENTATION_NEEDED,
  freshPort,
  fromHost,
  fromSandbox,
  GUEST,
  HOST,
  isError,
  isText,
  NONE,
  OPEN,
  OPTIONS,
  OUTSIDE,
  policies,
  RESOLVER,
  ROUTER,
  SANDBOX,
  UNREACHABLE,
  UPLINK,
  udp,
  useRouterStage,
} from './testing/router-stage.ts';

const stage = useRouterStage();

it('does not send back to the host what it sends to an address of nobody', async () => {
  stage.cable.send(fromHost(OUTSIDE, '10.11.0.99', udp('lost')));
  expect(await stage.leaked(stage.w1, [])).toEqual([]);
});

describe('translation', () => {
  it('gives a guest its outside address, and back', async () => {
    stage.w1.send(fromSandbox(GUEST, OUTSIDE, udp('out')));
    const [out] = await stage.cable.until(isText('out'));
    expect(out).toMatchObject({ from: '10.11.0.1', to: OUTSIDE, ether: { from: UPLINK, to: HOST } });
    stage.cable.send(fromHost(OUTSIDE, '10.11.0.1', udp('in')));
    const [back] = await stage.w1.until(isText('in'));
    expect(back).toMatchObject({ from: OUTSIDE, to: GUEST, ether: { from: ROUTER, to: SANDBOX } });
  });

  it('leaves a namespace the address that it has', async () => {
    stage.w2.send(fromSandbox('10.11.0.2', OUTSIDE, udp('out')));
    expect(await stage.cable.until(isText('out'))).toMatchObject([{ from: '10.11.0.2', to: OUTSIDE }]);
    stage.cable.send(fromHost(OUTSIDE, '10.11.0.2', udp('in')));
    expect(await stage.w2.until(isText('in'))).toMatchObject([{ from: OUTSIDE, to: '10.11.0.2' }]);
  });

  it('reaches what an ICMP error quotes, on the way in', async () => {
    stage.cable.send(
      fromHost(
        '198.51.100.1',
        '10.11.0.1',
        error(UNREACHABLE, FRAGMENTATION_NEEDED, { from: '10.11.0.1', to: OUTSIDE }),
      ),
    );
    expect(await stage.w1.until(isError)).toMatchObject([
      {
        from: '198.51.100.1',
        to: GUEST,
        body: { type: UNREACHABLE, code: FRAGMENTATION_NEEDED, quoted: { from: GUEST, to: OUTSIDE } },
      },
    ]);
  });

  it('reaches what an ICMP error quotes, on the way out', async () => {
    stage.w1.send(fromSandbox(GUEST, OUTSIDE, error(UNREACHABLE, 3, { from: OUTSIDE, to: GUEST })));
    expect(await stage.cable.until(isError)).toMatchObject([
      { from: '10.11.0.1', to: OUTSIDE, body: { quoted: { from: OUTSIDE, to: '10.11.0.1' } } },
    ]);
  });

  it('makes errors of the namespace in front of a guest errors of the sandbox', async () => {
    stage.w1.send(
      fromSandbox('10.12.0.3', OUTSIDE, error(UNREACHABLE, FRAGMENTATION_NEEDED, { from: OUTSIDE, to: GUEST })),
    );
    expect(await stage.cable.until(isError)).toMatchObject([
      { from: '10.11.0.1', to: OUTSIDE, body: { quoted: { from: OUTSIDE, to: '10.11.0.1' } } },
    ]);
  });
});

describe('a sandbox', () => {
  const cases: [string, () => RawLink, () => Uint8Array][] = [
    ['from an address that is not its own', () => stage.w1, () => fromSandbox('10.11.0.9', OUTSIDE, udp('spoof'))],
    ['from its neighbour', () => stage.w1, () => fromSandbox('10.11.0.2', OUTSIDE, udp('spoof'))],
    ['from a neighbour inside', () => stage.w2, () => fromSandbox(GUEST, OUTSIDE, udp('spoof'))],
    ['from the outside address of its own', () => stage.w1, () => fromSandbox('10.11.0.1', OUTSIDE, udp('spoof'))],
    ['from its address on the link', () => stage.w1, () => fromSandbox('10.12.0.3', OUTSIDE, udp('spoof'))],
    ["from the router's address", () => stage.w1, () => fromSandbox('10.12.0.2', OUTSIDE, udp('spoof'))],
    [
      'from a MAC address that is not its own',
      () => stage.w1,
      () => fromSandbox(GUEST, OUTSIDE, udp('spoof'), '02:cf:00:00:00:03'),
    ],
    [
      'an error about a packet that it was not sent',
      () => stage.w1,
      () => fromSandbox(GUEST, OUTSIDE, error(UNREACHABLE, 3, { from: OUTSIDE, to: '10.11.0.2' })),
    ],
    [
      'an error from another link',
      () => stage.w1,
      () => fromSandbox('10.12.0.5', OUTSIDE, error(UNREACHABLE, 3, { from: OUTSIDE, to: GUEST })),
    ],
  ];

  it.each(cases)('cannot send %s', async (_, link, frame) => {
    expect(await stage.leaked(link(), [frame(), frame()])).toEqual([]);
    expect(stage.counted('spoofed')).toBe(2);
  });

  it('cannot speak IPv6', async () => {
    expect(await stage.leaked(stage.w1, [buildIpv6({ from: SANDBOX, to: ROUTER })])).toEqual([]);
    expect(stage.counted('other_families')).toBe(1);
  });

  it('cannot reach its neighbour, whose answers would pass', async () => {
    stage.w1.send(fromSandbox(GUEST, '10.11.0.2', udp('to the neighbour')));
    stage.cable.send(fromHost(OUTSIDE, '10.11.0.2', udp('in')));
    expect(await stage.w2.until(isText('in'))).toHaveLength(1);
    expect(stage.counted('denied')).toBe(1);
  });

  it('reaches no port of the router, but may ask whether it is there', async () => {
    stage.w1.send(fromSandbox(GUEST, '10.9.0.2', udp('to the router')));
    stage.w1.send(fromSandbox(GUEST, '10.9.0.2', error(ECHO, 0, { from: GUEST, to: '10.9.0.2' })));
    const [reply] = await stage.w1.until(isError);
    expect(reply).toMatchObject({ from: '10.9.0.2', to: GUEST, body: { type: 0 } });
    expect(stage.counted('denied')).toBe(1);
  });
});

describe('the resolver', () => {
  let sockets: ServiceSockets;

  beforeEach(() => {
    sockets = stage.router.within(() => openService(parseIpv4(RESOLVER), 53));
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
    applyTransaction(stage.netfilter, [
      ...removeRuleset(attached(1, GUEST, OPEN)),
      ...addRuleset(attached(1, GUEST, NONE)),
    ]);
    stage.cable.send(fromHost(OUTSIDE, RESOLVER, udp('of the outside')));
    stage.w1.send(fromSandbox(GUEST, '10.12.0.2', udp('at the gateway')));
    stage.w1.send(fromSandbox(GUEST, RESOLVER, { kind: 'udp', from: 9, to: 5353, text: 'at another port' }));
    stage.w1.send(fromSandbox(GUEST, RESOLVER, { kind: 'syn', from: freshPort(), to: 5353, segment: 1000 }));
    stage.w1.send(fromSandbox(GUEST, RESOLVER, udp('of a guest')));
    stage.w2.send(fromSandbox('10.11.0.2', RESOLVER, udp('of processes')));
    const all: string[] = [];
    await expect.poll(() => all.push(...heard()) && all.toSorted()).toEqual(['of a guest', 'of processes']);
    await expect.poll(() => stage.counted('denied')).toBe(3);
  });

  it('hears one sandbox beside the flood of another', async () => {
    for (let count = 0; count < 3000; count++) {
      stage.w1.send(fromSandbox(GUEST, RESOLVER, { kind: 'udp', from: 9, to: 53, text: 'flood' }));
    }
    stage.w2.send(fromSandbox('10.11.0.2', RESOLVER, udp('of the other')));
    const all: string[] = [];
    await expect.poll(() => all.push(...heard()) && all).toContain('of the other');
    expect(stage.counted('asked')).toBeGreaterThan(1000);
  });

  it('hears no more flows of a sandbox than it may have', async () => {
    applyTransaction(stage.netfilter, [
      ...replaceRuleset(routerRuleset({ ...OPTIONS, maxFlows: 10 })),
      ...policies.flatMap(addRuleset),
      ...addRuleset(attached(1, GUEST, OPEN)),
    ]);
    for (let count = 0; count < 30; count++) stage.w1.send(fromSandbox(GUEST, RESOLVER, udp('one of many')));
    await expect.poll(() => stage.counted('crowded')).toBe(20);
    expect(heard()).toHaveLength(10);
  });
});

describe('a policy', () => {
  it('changes in one step, and lets answers pass', async () => {
    applyTransaction(stage.netfilter, [
      ...removeRuleset(attached(1, GUEST, OPEN)),
      ...addRuleset(attached(1, GUEST, NONE)),
    ]);
    stage.w1.send(fromSandbox(GUEST, OUTSIDE, udp('denied')));
    stage.cable.send(fromHost(OUTSIDE, '10.11.0.1', { kind: 'udp', from: 53, to: 9, text: 'question' }));
    await stage.w1.until(isText('question'));
    stage.w1.send(fromSandbox(GUEST, OUTSIDE, { kind: 'udp', from: 9, to: 53, text: 'answer' }));
    expect(await stage.cable.until(isText('answer'))).toHaveLength(1);
    expect(stage.counted('denied')).toBe(1);
  });

  it('goes with its chain and its set', () => {
    const [, none] = policies;
    if (none !== undefined) applyTransaction(stage.netfilter, removeRuleset(none));
    expect(stage.router.run('nft', 'list', 'table', 'inet', 'culvert')).not.toContain('egress-2');
  });

  it('that is not there cannot be taken out, and nothing changes', () => {
    const before = stage.router.run('nft', '-j', 'list', 'table', 'inet', 'culvert');
    expect(() => applyTransaction(stage.netfilter, removeRuleset(policyRuleset(3, [], 'absent')))).toThrow(
      /^Cannot delete element \(absent\) of set policies in table inet culvert: ENOENT/,
    );
    expect(stage.router.run('nft', '-j', 'list', 'table', 'inet', 'culvert')).toBe(before);
  });
});

it('keeps the fragments of guests apart that have one address', async () => {
  applyTransaction(stage.netfilter, [
    ...removeRuleset(attached(2, '10.11.0.2', OPEN)),
    ...addRuleset(attached(2, GUEST, OPEN)),
  ]);
  const fragments = (text: string): [Uint8Array, Uint8Array] => {
    const body: Body = { kind: 'udp', from: 1000, to: 53, text };
    return buildFragments({ ether: { from: SANDBOX, to: ROUTER }, from: GUEST, to: OUTSIDE, body }, 16, 77);
  };
  const [first, last] = fragments('text of guest one');
  const [otherFirst, otherLast] = fragments('words of another');
  stage.w1.send(first);
  stage.w2.send(otherLast);
  stage.w2.send(otherFirst);
  stage.w1.send(last);
  // the stage.router puts them together, and takes them apart again when it sends them on
  let count = 0;
  const arrived = await stage.cable.untilRead(readFragment, () => ++count === 4);
  const textOf = (address: string) => reassemble(arrived.filter(({ from }) => from === address));
  expect(textOf('10.11.0.1')).toMatchObject({ text: 'text of guest one' });
  expect(textOf('10.11.0.2')).toMatchObject({ text: 'words of another' });
});

it('cuts a sandbox off both ways when its elements go', async () => {
  stage.cable.send(fromHost(OUTSIDE, '10.11.0.1', { kind: 'udp', from: 53, to: 10, text: 'question' }));
  await stage.w1.until(isText('question'));
  applyTransaction(stage.netfilter, removeRuleset(attached(1, GUEST, OPEN)));
  // the flow is established, and the route still there
  stage.w1.send(fromSandbox(GUEST, OUTSIDE, { kind: 'udp', from: 10, to: 53, text: 'answer' }));
  stage.cable.send(fromHost(OUTSIDE, '10.11.0.1', { kind: 'udp', from: 53, to: 10, text: 'again' }));
  expect(await stage.leaked(stage.w2, [])).toEqual([]);
  await expect.poll(() => [stage.counted('spoofed'), stage.counted('unreachable')]).toEqual([1, 1]);
});

it('loses what a sandbox sends beyond its limit, and nothing before', async () => {
  const limit = { rate: 1_000, burst: 50_000 };
  const limited = { ...attached(1, GUEST, OPEN), elements: [transmitLimitElement(10_001, limit, 'a1')] };
  applyTransaction(stage.netfilter, addRuleset(limited));
  const text = 'x'.repeat(1_400);
  for (let count = 0; count < 100; count++) {
    stage.w1.send(fromSandbox(GUEST, OUTSIDE, { kind: 'udp', from: 2_000 + count, to: 53, text }));
  }
  let passed = 0;
  await stage.cable.until(({ body }) => body.kind === 'udp' && body.text === text && ++passed === 30);
  // 35 of them are 50,000 bytes; each second that this takes lets one more pass
  await expect.poll(() => stage.counted('from_cable')).toBeGreaterThan(50);
  expect(stage.counted('from_cable')).toBeLessThanOrEqual(66);
  applyTransaction(stage.netfilter, removeRuleset(limited));
  stage.w1.send(fromSandbox(GUEST, OUTSIDE, { kind: 'udp', from: 10, to: 53, text: 'free again' }));
  await stage.cable.until(isText('free again'));
});

it('reports the one packet of a sandbox beside the flood of another', async () => {
  using log = stage.router.within(() => new PacketLog(7));
  const spoof = (): Uint8Array => fromSandbox('198.51.100.7', OUTSIDE, udp('spoof'));
  for (let count = 0; count < 2_000; count++) stage.w1.send(spoof());
  stage.w2.send(spoof());
  const links: (number | undefined)[] = [];
  await expect.poll(() => links.push(...log.poll(2_000).map(({ inLink }) => inLink)) > 0 && links).toContain(10_002);
  const ofFlood = links.filter((link) => link === 10_001).length;
  expect(ofFlood).toBeGreaterThanOrEqual(40);
  expect(ofFlood).toBeLessThan(1_000);
  expect(stage.counted('spoofed')).toBe(2_001);
});

it('clamps the segment size to the route, both ways', async () => {
  stage.router.ip('link set s1 mtu 1300');
  const syn = (): Body => ({ kind: 'syn', from: freshPort(), to: 80, segment: 1460 });
  const isSyn = ({ body }: Frame): boolean => body.kind === 'syn';
  stage.w1.send(fromSandbox(GUEST, OUTSIDE, syn()));
  expect(await stage.cable.until(isSyn)).toMatchObject([{ from: '10.11.0.1', body: { segment: 1260 } }]);
  stage.cable.send(fromHost(OUTSIDE, '10.11.0.1', syn()));
  expect(await stage.w1.until(isSyn)).toMatchObject([{ to: GUEST, body: { segment: 1260 } }]);
});
