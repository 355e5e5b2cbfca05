import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { addIpv4, formatIpv4, type Ipv4 } from '../src/addr/ipv4.ts';
import { type Prefix, parsePrefix } from '../src/addr/prefix.ts';
import { Kernel } from '../src/linux/apply.ts';
import { NETLINK_NETFILTER } from '../src/linux/netlink/constants.ts';
import { NetlinkSocket } from '../src/linux/netlink/socket.ts';
import { applyTransaction } from '../src/linux/nftables/batch.ts';
import { replaceRuleset } from '../src/linux/nftables/ruleset.ts';
import { hasSysctl } from '../src/linux/sysctl.ts';
import { meshAddress } from '../src/mesh/address.ts';
import type { ClearPeer } from '../src/mesh/clear/peer.ts';
import { ClearWay } from '../src/mesh/clear/way.ts';
import { DEFAULT_CLEAR_PORT } from '../src/mesh/link.ts';
import { diff } from '../src/plan/diff.ts';
import { type KernelObject, LOOPBACK, ROOT, ROUTER } from '../src/plan/state.ts';
import { hostObjects, rootCable } from '../src/sandbox/host/objects.ts';
import { rootRuleset } from '../src/sandbox/ruleset/root.ts';
import { desired } from '../src/sandbox/topology/desired.ts';
import { DEFAULT_LAYOUT } from '../src/sandbox/topology/layout.ts';
import type { Underlay, UnderlayHost } from './underlay.ts';

const RANGE = parsePrefix('10.64.0.0/10');
const UNIT = 20;
/** bytes */
export const MTU = 1420;

/** A host with all that it has before there is a cluster, a sandbox of its subnet, and the way to others in clear. */
export class ClearHost implements Disposable {
  readonly underlay: Underlay;
  readonly place: UnderlayHost;
  readonly subnet: Prefix;
  readonly kernel: Kernel;
  way: ClearWay;

  constructor(underlay: Underlay, place: UnderlayHost, subnet: string) {
    this.underlay = underlay;
    this.place = place;
    this.subnet = parsePrefix(subnet);
    const pins = join(place.folder, 'netns');
    mkdirSync(pins);
    this.kernel = underlay.inside(place, () => new Kernel(pins, [ROOT, ROUTER]));
    this.inside(() => this.#lay());
    this.way = this.open();
  }

  get router(): string {
    return this.kernel.pin(ROUTER);
  }

  get sandbox(): string {
    return this.kernel.pin('s1');
  }

  /** of the sandbox */
  get address(): Ipv4 {
    return addIpv4(this.subnet.address, 1);
  }

  get meshAddress(): Ipv4 {
    return meshAddress(this.subnet);
  }

  /** As others know it. */
  peer(onLink: boolean): ClearPeer {
    const { name, address } = this.place;
    return { name, subnet: this.subnet, endpoint: { address, port: DEFAULT_CLEAR_PORT }, onLink };
  }

  open(): ClearWay {
    const { kernel, subnet } = this;
    const common = { instance: 'main', range: RANGE, unit: UNIT, port: DEFAULT_CLEAR_PORT, uplink: 'eth0' };
    return this.inside(() => new ClearWay({ ...common, kernel, subnet, mtu: MTU }));
  }

  inside<T>(body: () => T): T {
    return this.underlay.inside(this.place, body);
  }

  /** Runs `body` with this thread in its router namespace. */
  insideRouter<T>(body: () => T): T {
    return this.inside(() => this.kernel.inside(ROUTER, body));
  }

  bring(peers: readonly ClearPeer[], terms: { removes?: boolean; dryRun?: boolean } = {}): string[] {
    const byName = new Map(peers.map((peer) => [peer.name, peer]));
    return this.inside(() => this.way.bringTo(byName, { removes: true, ...terms }));
  }

  /** Has the router send to a peer's sandboxes in clear. */
  route(peer: ClearPeer, mtu?: number): void {
    const object = this.way.routeTo(peer, { mtu });
    this.inside(() => this.kernel.apply([{ verb: 'change', object, from: object }]));
  }

  /** Of this sandbox to another. */
  ping(other: ClearHost, ...options: string[]): string {
    return this.underlay.run(this.sandbox, 'ping', '-W', '3', '-c', '1', ...options, formatIpv4(other.address));
  }

  /** What a command prints in the root namespace. */
  root(...command: string[]): string {
    return this.underlay.run(this.place.pin, ...command);
  }

  /** Packets that the rule of its table whose words begin so has dropped. */
  dropped(words: string): number {
    const list = this.root('nft', 'list', 'table', 'inet', 'culvert_clear-main');
    const line = list.split('\n').find((one) => one.trim().startsWith(words));
    return Number(/counter packets (\d+)/.exec(line ?? '')?.[1] ?? Number.NaN);
  }

  [Symbol.dispose](): void {
    this.way[Symbol.dispose]();
    this.kernel[Symbol.dispose]();
  }

  #lay(): void {
    const layout = { ...DEFAULT_LAYOUT, mtu: MTU };
    const host: KernelObject[] = hostObjects({ instance: 'main', layout, uplink: 'eth0', inbound: [] });
    // the settings of modules that are not loaded are not there
    const there = host.filter(
      (object) => object.kind !== 'sysctl' || object.ofModule !== true || hasSysctl(object.name),
    );
    const sandbox = desired({ topology: 'netns', slot: 1, rates: {} }, { ...layout, hostRange: this.subnet });
    const address = {
      kind: 'address',
      namespace: ROUTER,
      link: LOOPBACK,
      address: this.meshAddress,
      length: 32,
    } as const;
    this.kernel.apply(diff([], [...there, address]));
    this.kernel.apply(diff([], sandbox));
    using netfilter = new NetlinkSocket(NETLINK_NETFILTER);
    const cable = rootCable('main').name;
    const ranges = [this.subnet, layout.bridgeRange];
    const rules = rootRuleset({ instance: 'main', cable, ranges, reportGroup: 7, inbound: [] });
    applyTransaction(netfilter, replaceRuleset(rules));
  }
}
