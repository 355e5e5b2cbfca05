import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type Body, buildFrame, type Frame } from '../../../../lab/frame.ts';
import { LabNamespace } from '../../../../lab/namespace.ts';
import { RawLink } from '../../../../lab/raw-link.ts';
import { parseIpv4 } from '../../../addr/ipv4.ts';
import { parsePrefix } from '../../../addr/prefix.ts';
import type { NetlinkSocket } from '../../../linux/netlink/socket.ts';
import { applyTransaction } from '../../../linux/nftables/batch.ts';
import { addRuleset, replaceRuleset } from '../../../linux/nftables/ruleset.ts';
import type { Ruleset } from '../../../plan/ruleset.ts';
import { compilePolicy } from '../../policy/compile.ts';
import { attachmentElements, policyRuleset } from '../elements.ts';
import { ROUTER_TABLE } from '../names.ts';
import { routerRuleset } from '../router.ts';

/*
 * What tests of the router's table send through it:
 *
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

export const SANDBOX = '02:cf:00:00:00:02';
export const ROUTER = '02:cf:00:00:00:01';
export const HOST = '02:cf:00:00:00:0a';
export const UPLINK = '02:cf:00:00:00:0b';
export const GUEST = '169.254.0.21';
export const OUTSIDE = '192.0.2.7';
export const RESOLVER = '10.12.0.1';
export const UNREACHABLE = 3;
export const FRAGMENTATION_NEEDED = 4;
export const ECHO = 8;

export const OPTIONS = {
  probePort: 51_840,
  uplink: 'uplink',
  reportGroup: 7,
  maxFlows: 1000,
  resolver: parseIpv4(RESOLVER),
  host: parseIpv4('10.11.0.0'),
};

export const OPEN = 1;
export const NONE = 2;
export const policies = [
  policyRuleset(OPEN, compilePolicy({ egress: 'open', allow: [], deny: [] }, [parsePrefix('10.11.0.0/16')]), 'open'),
  policyRuleset(NONE, compilePolicy({ egress: 'none', allow: [], deny: [] }, []), 'none'),
];

/** A sandbox's part of the table. */
export function attached(slot: number, wireAddress: string, policy: number): Ruleset {
  const elements = attachmentElements({
    index: 10_000 + slot,
    wireAddress: parseIpv4(wireAddress),
    hostAddress: parseIpv4(`10.11.0.${slot}`),
    policy,
    comment: `a${slot} generation 1`,
  });
  return { table: ROUTER_TABLE, sets: [], chains: [], elements };
}

let nextPort = 20_000;

/** Of a flow that conntrack has not seen. */
export function freshPort(): number {
  return nextPort++;
}

export function udp(text: string): Body {
  return { kind: 'udp', from: freshPort(), to: 53, text };
}

export function error(type: number, code: number, quoted: { from: string; to: string }): Body {
  return { kind: 'icmp', type, code, quoted: { ...quoted, ports: [freshPort(), 53] } };
}

export function fromSandbox(from: string, to: string, body: Body, mac: string = SANDBOX): Uint8Array {
  return buildFrame({ ether: { from: mac, to: ROUTER }, from, to, body });
}

export function fromHost(from: string, to: string, body: Body): Uint8Array {
  return buildFrame({ ether: { from: HOST, to: UPLINK }, from, to, body });
}

export function isText(text: string): (frame: Frame) => boolean {
  return ({ body }) => body.kind === 'udp' && body.text === text;
}

export const isError = ({ body }: Frame): boolean => body.kind === 'icmp';

/** The stage of a test file; counters and the connection table start anew with each test. */
export function useRouterStage(): RouterStage {
  const stage = new RouterStage();
  beforeAll(() => stage.lay());
  beforeEach(() => stage.reset());
  afterAll(() => stage.close());
  return stage;
}

class RouterStage {
  readonly #opened = new AsyncDisposableStack();
  #router: LabNamespace | undefined;
  #netfilter: NetlinkSocket | undefined;
  #links: { readonly w1: RawLink; readonly w2: RawLink; readonly cable: RawLink } | undefined;

  get router(): LabNamespace {
    return laid(this.#router);
  }

  /** in the router */
  get netfilter(): NetlinkSocket {
    return laid(this.#netfilter);
  }

  get w1(): RawLink {
    return laid(this.#links).w1;
  }

  get w2(): RawLink {
    return laid(this.#links).w2;
  }

  /** the host's end of the uplink */
  get cable(): RawLink {
    return laid(this.#links).cable;
  }

  async lay(): Promise<void> {
    const [router, wire, host] = await Promise.all([LabNamespace.make(), LabNamespace.make(), LabNamespace.make()]);
    for (const namespace of [router, wire, host]) this.#opened.defer(() => namespace.close());
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
    this.#router = router;
    this.#netfilter = this.#opened.use(router.netfilter());
    const link = (namespace: LabNamespace, index: number): RawLink => this.#opened.use(new RawLink(namespace, index));
    this.#links = { w1: link(wire, 11), w2: link(wire, 12), cable: link(host, 21) };
  }

  reset(): void {
    applyTransaction(this.netfilter, [
      ...replaceRuleset(routerRuleset(OPTIONS)),
      ...policies.flatMap(addRuleset),
      ...addRuleset(attached(1, GUEST, OPEN)),
      ...addRuleset(attached(2, '10.11.0.2', OPEN)),
    ]);
  }

  close(): Promise<void> {
    return this.#opened.disposeAsync();
  }

  /** packets that the chain's first rule counted */
  counted(chain: string): number {
    const { nftables } = JSON.parse(this.router.run('nft', '-j', 'list', 'chain', 'inet', 'culvert', chain)) as {
      nftables: { rule?: { expr: { counter?: { packets: number } }[] } }[];
    };
    return (
      nftables.flatMap(({ rule }) => rule?.expr ?? []).find(({ counter }) => counter !== undefined)?.counter?.packets ??
      -1
    );
  }

  /** What arrives on the cable after the sandbox sent `frames` and then one that passes, that one left out. */
  async leaked(link: RawLink, frames: readonly Uint8Array[]): Promise<Frame[]> {
    for (const frame of frames) link.send(frame);
    const from = link === this.w1 ? GUEST : '10.11.0.2';
    link.send(fromSandbox(from, OUTSIDE, udp('passes')));
    return (await this.cable.until(isText('passes'))).slice(0, -1);
  }
}

function laid<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('There is a stage within a test only');
  return part;
}
