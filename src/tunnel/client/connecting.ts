import { type Ip, parseIp } from '../../addr/ip.ts';
import { CulvertError } from '../../errors.ts';
import { processOf } from '../../linux/process.ts';
import { availableWireguard } from '../../linux/wireguard/available.ts';
import { diff, type Plan } from '../../plan/diff.ts';
import { type KernelObject, objectKey, ROOT } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import type { Endpoint, SeenPeer } from '../../plan/wireguard/device.ts';
import { sameEndpoint } from '../../plan/wireguard/endpoint.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { TunnelDevice } from '../device/device.ts';
import type { MarkedLookup } from '../endpoint/marked-lookup.ts';
import { type Resolved, resolveEndpoints } from '../endpoint/resolve.ts';
import { bringTo, difference, listFirewalls } from '../firewall/keeper.ts';
import { killSwitchTable } from '../firewall/kill-switch.ts';
import type { FirewallTable } from '../firewall/table.ts';
import { wayTable } from '../firewall/way.ts';
import { whatWasSeen } from '../handshake/trouble.ts';
import { latestPeer, SESSION_MS, untilHandshake } from '../handshake/wait.ts';
import { inTurn } from '../journal/turn.ts';
import type { Mark } from '../owner/mark.ts';
import { deviceOf } from '../plan/device.ts';
import { chooseNumbers, takenNumbers } from '../plan/numbers.ts';
import { fullFamilies, type Numbers, TUNNEL_PROTOCOL, tunnelObjects } from '../plan/routing.ts';
import { tunnelMtu } from '../plan/size.ts';
import { type Standing, standingAt } from '../takeover/standing.ts';
import { type Swept, sweep } from '../takeover/sweep.ts';
import { sweepQuick } from '../takeover/wg-quick.ts';
import { runHooks } from './hooks.ts';
import type { ConnectRequest } from './request.ts';
import type { Workplace } from './workplace.ts';

/** A tunnel that stands, with a handshake where one was waited for. */
export type Connected = {
  readonly device: TunnelDevice;
  readonly numbers: Numbers;
  /** bytes */
  readonly mtu: number;
  readonly peer?: SeenPeer;
  readonly resolved: Resolved;
  /** what was done of what a dead client had left, and else is to be known */
  readonly notices: readonly string[];
  /** whether it was there already, exactly as wanted */
  readonly wasAdopted: boolean;
};

/** net.ipv4: what comes back for a mark takes the mark's way, so that a strict reverse-path filter lets it in */
const SRC_VALID_MARK = 'net/ipv4/conf/all/src_valid_mark';

/** Makes a tunnel stand; what it fails with, nothing of it is left. */
export class Connecting {
  readonly #place: Workplace;
  readonly #request: ConnectRequest;
  readonly #notices: string[] = [];

  constructor(place: Workplace, request: ConnectRequest) {
    this.#place = place;
    this.#request = request;
  }

  /** @throws CulvertError, InputError */
  async run(signal: AbortSignal): Promise<Connected> {
    const { kernel, name, folder } = this.#place;
    const { privateKey } = this.#request.config;
    const standing = standingAt({ kernel, name, folder, privateKey });
    const adopted = standing === undefined ? undefined : await this.#adopt(standing);
    if (adopted !== undefined) return adopted;
    const keeps = this.#request.allow !== undefined;
    // one that a dead client has left stands until there is another, or a person says otherwise
    const wasClosed = keeps && isClosed(this.#place);
    this.#sweep(standing, keeps);
    const { hooks } = this.#request;
    let device: TunnelDevice | undefined;
    try {
      const numbers = inTurn(this.#place.common, () => this.#numbers());
      this.#closeOthers(NOBODY, numbers);
      const resolved = await this.#resolve(numbers);
      this.#closeOthers(resolved, numbers);
      runHooks('PreUp', hooks.preUp, this.#place.name);
      device = await this.#make(numbers);
      const connected = await this.#finish(device, resolved, { numbers, signal });
      runHooks('PostUp', hooks.postUp, this.#place.name);
      return connected;
    } catch (error) {
      device?.[Symbol.dispose]();
      const { failed } = sweep(this.#place, device?.link, { keeps: wasClosed });
      if (failed.length > 0) throw new AggregateError([error, ...failed], messageOf(error), { cause: error });
      throw error;
    }
  }

  /**
   * Looks anew where peers are that do not answer, and has the device send there. What does not resolve stays as it is.
   *
   * @throws CulvertError where the device or the kill switch cannot be told
   */
  async refresh({ device, numbers }: Connected, stale: readonly SeenPeer[]): Promise<void> {
    const keys = new Set<Key>(stale.map(({ publicKey }) => publicKey));
    const peers = this.#request.config.peers.filter(({ publicKey }) => keys.has(publicKey));
    const marked = this.#request.allow === undefined ? undefined : this.#marked(numbers);
    const { endpoints } = await this.#place.kernel.withSocket(ROOT, (socket) =>
      resolveEndpoints(socket, peers, marked),
    );
    if (!device.isAlive) return;
    const seen = device.read().peers;
    const moved = [...endpoints].filter(([key, endpoint]) => {
      const now = seen.get(key)?.endpoint;
      return now === undefined || !sameEndpoint(now, endpoint);
    });
    if (moved.length === 0) return;
    this.#closeOthers({ endpoints: new Map([...endpointsOf(seen), ...moved]), unresolved: new Map() }, numbers);
    device.edit(moved.map(([publicKey, endpoint]) => ({ verb: 'change', peer: { publicKey, endpoint } })));
  }

  /** Lets encrypted packets go where peers are heard from now. @throws CulvertError where the kill switch cannot be told */
  follow({ device, numbers }: Connected): void {
    this.#closeOthers({ endpoints: endpointsOf(device.read().peers), unresolved: new Map() }, numbers);
  }

  #marked({ fwMark }: Numbers): MarkedLookup {
    return { fwMark, servers: resolversOf(this.#place) };
  }

  /** Takes away what a dead client, or another program with this key, has left. */
  #sweep(standing: Standing | undefined, keeps: boolean): void {
    const { kernel, netfilter, dns, dnsName, sysctls, name, folder } = this.#place;
    const parts = { kernel, netfilter, dns, dnsName, sysctls, name, folder: standing?.folder ?? folder };
    this.#note(sweep(parts, standing?.link, { keeps }));
    if (standing !== undefined && standing.mark === undefined) {
      this.#notices.push(...sweepQuick(parts, standing.fwMark));
    }
  }

  async #resolve(numbers: Numbers): Promise<Resolved> {
    const { config, allow } = this.#request;
    const marked = allow === undefined ? undefined : this.#marked(numbers);
    const resolved = await this.#place.kernel.withSocket(ROOT, (socket) =>
      resolveEndpoints(socket, config.peers, marked),
    );
    if (resolved.endpoints.size > 0 || resolved.unresolved.size === 0) {
      this.#notices.push(...resolved.unresolved.values());
      return resolved;
    }
    const why = [...resolved.unresolved.values()].join('; ');
    throw new CulvertError('endpoint_unresolved', `Cannot connect ${this.#place.name}: ${why}`);
  }

  #numbers(): Numbers {
    const { config, allow } = this.#request;
    const numbers = this.#place.kernel.withSocket(ROOT, (socket) => chooseNumbers(takenNumbers(socket), config.fwMark));
    const needsMark = allow !== undefined || config.fwMark !== undefined || fullFamilies(config).length > 0;
    return needsMark ? numbers : { ...numbers, fwMark: 0 };
  }

  /** Before the first packet of the tunnel: from then on nothing passes it. */
  #closeOthers(resolved: Resolved, numbers: Numbers): void {
    const table = this.#killSwitch(resolved, numbers);
    if (table !== undefined) bringTo(this.#place.netfilter, table);
  }

  async #make({ fwMark }: Numbers): Promise<TunnelDevice> {
    const { kernel, name, folder } = this.#place;
    const backend = this.#request.backend ?? availableWireguard();
    return TunnelDevice.make({ kernel, name, folder }, backend, ownMark(fwMark));
  }

  async #finish(
    device: TunnelDevice,
    resolved: Resolved,
    { numbers, signal }: { readonly numbers: Numbers; readonly signal: AbortSignal },
  ): Promise<Connected> {
    const { kernel } = this.#place;
    const { config } = this.#request;
    const known = { endpoints: resolved.endpoints, fwMark: numbers.fwMark };
    device.bringTo(deviceOf(config, known, true), Date.now());
    const objects = tunnelObjects(config, device.link, numbers);
    kernel.apply(
      diff(
        [],
        objects.filter(({ kind }) => kind === 'address'),
      ),
    );
    const mtu = this.#mtu(resolved, numbers);
    device.raise(mtu);
    const peer = await this.#handshake(device, resolved, { numbers, signal });
    // what was said to have it begin
    device.bringTo(deviceOf(config, known, false), Date.now());
    this.#guard(numbers);
    inTurn(this.#place.common, () => kernel.apply(this.#plan(objects)));
    this.#askNames();
    const heard = peer === undefined ? {} : { peer };
    return { device, numbers, mtu, ...heard, resolved, notices: this.#notices, wasAdopted: false };
  }

  async #handshake(
    device: TunnelDevice,
    resolved: Resolved,
    { numbers, signal }: { readonly numbers: Numbers; readonly signal: AbortSignal },
  ): Promise<SeenPeer | undefined> {
    const { timeoutMs } = this.#request;
    if (timeoutMs === 0) return undefined;
    const peer = await untilHandshake(() => device.read(), { sinceMs: 0, timeoutMs, signal });
    if (peer !== undefined) return peer;
    const { name } = this.#place;
    if (signal.aborted) throw new CulvertError('aborted', `Cannot connect ${name}: it was called off`);
    const seen = await whatWasSeen(device.read(), resolved, numbers.fwMark);
    throw new CulvertError(seen.code, `Cannot connect ${name}: no handshake in ${timeoutMs / 1000} s: ${seen.text}`);
  }

  /** What a default route needs beside rules. */
  #guard(numbers: Numbers): void {
    const { netfilter, sysctls, name } = this.#place;
    const full = fullFamilies(this.#request.config);
    const table = this.#way(numbers);
    if (table !== undefined) bringTo(netfilter, table);
    if (full.includes('inet')) sysctls.want(name, SRC_VALID_MARK, '1');
  }

  #askNames(): void {
    const { dns, dnsName, name } = this.#place;
    const { notices } = dns.set(dnsName, name, this.#request.config.dns);
    this.#notices.push(...notices);
  }

  #mtu({ endpoints }: Resolved, { fwMark }: Numbers): number {
    const addresses = [...endpoints.values()].map(({ address }) => address);
    return (
      this.#request.config.mtu ?? this.#place.kernel.withSocket(ROOT, (socket) => tunnelMtu(socket, addresses, fwMark))
    );
  }

  #way({ fwMark }: Numbers): FirewallTable | undefined {
    const { config } = this.#request;
    if (fullFamilies(config).length === 0) return undefined;
    return wayTable({
      name: this.#place.name,
      mark: fwMark,
      addresses: config.addresses.map(({ address }) => address),
    });
  }

  #killSwitch({ endpoints }: Resolved, { fwMark }: Numbers): FirewallTable | undefined {
    const { allow } = this.#request;
    const { name } = this.#place;
    if (allow === undefined) return undefined;
    const resolvers = resolversOf(this.#place);
    return killSwitchTable({ name, mark: fwMark, endpoints: [...endpoints.values()], resolvers, allow });
  }

  #plan(objects: readonly KernelObject[]): Plan {
    const { kernel } = this.#place;
    const keys = new Set(objects.map(objectKey));
    const seen = kernel.find(ROOT, objects).objects.filter((object) => keys.has(objectKey(object)));
    return diff(seen, objects);
  }

  /** Takes over what stands where it is just what is wanted: no link is made, and no session ends. */
  async #adopt({ link, backend, folder, mark }: Standing): Promise<Connected | undefined> {
    const { kernel, name } = this.#place;
    if (mark === undefined) return undefined;
    let device: TunnelDevice | undefined;
    try {
      device = TunnelDevice.open({ kernel, name, folder }, link, backend);
      const peer = latestPeer(device.read());
      const isLive = peer !== undefined && Date.now() - peer.lastHandshakeMs < SESSION_MS;
      const numbers = this.#numbersOf(mark);
      const resolved = isLive && numbers !== undefined ? await this.#resolve(numbers) : undefined;
      if (peer === undefined || resolved === undefined || numbers === undefined) {
        device[Symbol.dispose]();
        return undefined;
      }
      const mtu = this.#mtu(resolved, numbers);
      const differs = this.#differences(device, resolved, { numbers, mtu });
      if (differs.length > 0) {
        device[Symbol.dispose]();
        this.#notices.push(`not adopted, since it differs: ${differs.slice(0, 3).join('; ')}`);
        return undefined;
      }
      device.mark(ownMark(numbers.fwMark));
      this.#askNames();
      const notices = [...this.#notices, `adopted ${name}, which a dead client had left as it is to be`];
      return { device, numbers, mtu, peer, resolved, notices, wasAdopted: true };
    } catch (error) {
      device?.[Symbol.dispose]();
      this.#notices.push(`not adopted: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** Those that its rules have; undefined where they have none, as of half of a tunnel. */
  #numbersOf({ fwMark }: Mark): Numbers | undefined {
    const { config } = this.#request;
    const taken = this.#place.kernel.withSocket(ROOT, takenNumbers);
    const chosen = this.#numbers();
    const priorities = { ...chosen.priorities };
    for (const family of fullFamilies(config)) {
      const rule = taken.rules[family].find((one) => one.protocol === TUNNEL_PROTOCOL && one.mark?.value === fwMark);
      if (rule === undefined) return undefined;
      priorities[family] = rule.priority;
    }
    const isOfConfig = config.fwMark === undefined || config.fwMark === fwMark;
    const isNeeded = chosen.fwMark !== 0;
    return isOfConfig && isNeeded === (fwMark !== 0) ? { fwMark, priorities } : undefined;
  }

  #differences(
    device: TunnelDevice,
    resolved: Resolved,
    { numbers, mtu }: { readonly numbers: Numbers; readonly mtu: number },
  ): string[] {
    const { netfilter } = this.#place;
    const { config } = this.#request;
    const known = { endpoints: resolved.endpoints, fwMark: numbers.fwMark };
    const edits = device.difference(deviceOf(config, known, false), Date.now());
    const plan = this.#plan(tunnelObjects(config, device.link, numbers));
    const tables = [this.#way(numbers), this.#killSwitch(resolved, numbers)].filter((table) => table !== undefined);
    const end = device.seen?.end;
    return [
      ...edits.map(({ verb }) => `the device (${verb})`),
      ...(plan.length === 0 ? [] : planText(plan).split('\n')),
      ...tables.flatMap((table) => difference(netfilter, table)),
      ...(end?.mtu === mtu && end.up ? [] : [`the link has MTU ${end?.mtu}`]),
    ];
  }

  #note({ done, failed }: Swept): void {
    this.#notices.push(...done, ...failed.map(({ message }) => message));
  }
}

function endpointsOf(peers: ReadonlyMap<Key, SeenPeer>): Map<Key, Endpoint> {
  return new Map(
    [...peers.values()].flatMap(({ publicKey, endpoint }): [Key, Endpoint][] =>
      endpoint === undefined ? [] : [[publicKey, endpoint]],
    ),
  );
}

/** Before it is known where peers are. */
const NOBODY: Resolved = { endpoints: new Map(), unresolved: new Map() };

/** Whether a kill switch of that tunnel stands. */
function isClosed({ netfilter, name }: Workplace): boolean {
  return listFirewalls(netfilter).some(({ purpose, tunnel }) => purpose === 'kill switch' && tunnel === name);
}

/** Whom the machine asked for names before any tunnel. */
function resolversOf({ dns }: Workplace): Ip[] {
  return dns.nameserversBefore().servers.flatMap((server) => {
    // one of a link, with its zone, is no server that a set can hold
    return server.includes('%') ? [] : [parseIp(server)];
  });
}

function ownMark(fwMark: number): Mark {
  const owner = processOf(process.pid);
  if (owner === undefined) throw new CulvertError('no_proc', 'Cannot tell who owns a tunnel: /proc is not there');
  return { owner, fwMark };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
