import { CulvertError } from '../../errors.ts';
import { findWay } from '../../linux/observe/way.ts';
import { readSysctl, writeSysctl } from '../../linux/sysctl.ts';
import { availableWireguard } from '../../linux/wireguard/available.ts';
import { diff } from '../../plan/diff.ts';
import { type Link, ROOT } from '../../plan/state.ts';
import type { Endpoint, SeenPeer } from '../../plan/wireguard/device.ts';
import { sameEndpoint } from '../../plan/wireguard/endpoint.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { publicKeyOf } from '../../plan/wireguard/private-key.ts';
import { TunnelDevice } from '../device/device.ts';
import type { Resolved } from '../endpoint/resolve.ts';
import { withNetfilter } from '../firewall/inside.ts';
import { bringTo, listFirewalls, removeFirewall } from '../firewall/keeper.ts';
import { untilData } from '../handshake/data.ts';
import { FirstHandshake } from '../handshake/first.ts';
import { HandshakeTimes } from '../handshake/times.ts';
import { inTurn } from '../journal/turn.ts';
import { onExit } from '../owner/exits.ts';
import { deviceOf } from '../plan/device.ts';
import { fullFamilies, type Numbers, RT_TABLE_MAIN, tunnelObjects } from '../plan/routing.ts';
import { type Standing, standingAt } from '../takeover/standing.ts';
import { ownLink, type Swept, sweep } from '../takeover/sweep.ts';
import { sweepQuick } from '../takeover/wg-quick.ts';
import { Adopting } from './adopting.ts';
import type { Connected } from './connected.ts';
import { freeNames } from './free-names.ts';
import { runHooks } from './hooks.ts';
import type { ConnectRequest } from './request.ts';
import { ownMark, Wanted } from './wanted.ts';
import type { Workplace } from './workplace.ts';

/** net.ipv4: what comes back for a mark takes the mark's way, so that a strict reverse-path filter lets it in */
const SRC_VALID_MARK = 'net/ipv4/conf/all/src_valid_mark';

/** Makes a tunnel stand; what it fails with, nothing of it is left. */
export class Connecting {
  readonly #place: Workplace;
  readonly #request: ConnectRequest;
  #wanted: Wanted;
  readonly #notices: string[] = [];
  /** when it last had handshakes */
  readonly times: HandshakeTimes;

  constructor(place: Workplace, request: ConnectRequest) {
    this.#place = place;
    this.#request = request;
    this.#wanted = new Wanted(place, request);
    this.times = new HandshakeTimes(place.state, publicKeyOf(request.config.privateKey));
  }

  /** What a person is to know besides. */
  note(notice: string): void {
    this.#notices.push(notice);
  }

  /** What was said of an earlier run is not said again. */
  forget(): void {
    this.#notices.length = 0;
  }

  /** @throws CulvertError, InputError */
  async run(signal: AbortSignal): Promise<Connected> {
    const { kernel, name, folder, at } = this.#place;
    const { privateKey } = this.#request.config;
    this.#wanted.assertApart();
    this.#wanted.assertMarkFree();
    if (at !== ROOT) this.#sweepRoot();
    const standing = standingAt({ kernel, name, folder, privateKey, at });
    if (standing !== undefined) {
      const adopting = new Adopting(this.#place, this.#request);
      const adopted = await adopting.run(standing, signal);
      if (adopted !== undefined) return adopted;
      this.#notices.push(...adopting.notices);
      // who called it off wants what stands to stand
      this.#assertWantedBy(signal);
    }
    // one that a dead client has left stands until there is another, or a person says otherwise
    const wasClosed = isClosed(this.#place);
    const isOpening = wasClosed && this.#request.allow === undefined;
    const keeps = wasClosed || this.#request.allow !== undefined;
    // where none is wanted any more it opens when the tunnel is there: until then nothing passes, as before
    if (isOpening) this.#wanted = new Wanted(this.#place, { ...this.#request, allow: [] });
    // from here on what stands under the name is ours
    const settle = onExit(() => void sweep(this.#place, () => ownLink(this.#place).link, { keeps: wasClosed }));
    try {
      if (keeps && !wasClosed) this.#closeFirst();
      this.#sweep(standing, keeps);
      return await this.#make({ wasClosed, isOpening }, signal);
    } finally {
      this.#wanted = new Wanted(this.#place, this.#request);
      settle();
    }
  }

  #assertWantedBy({ aborted }: AbortSignal): void {
    if (aborted) throw new CulvertError('aborted', `Cannot connect ${this.#place.name}: it was called off`);
  }

  /**
   * @param wasClosed whether a kill switch stood before, which stays where this fails
   * @param isOpening whether it goes where this does not
   */
  async #make(
    { wasClosed, isOpening }: { readonly wasClosed: boolean; readonly isOpening: boolean },
    signal: AbortSignal,
  ): Promise<Connected> {
    const { hooks } = this.#request;
    let device: TunnelDevice | undefined;
    try {
      const numbers = this.#numbers();
      this.#closeOthers(NOBODY, numbers);
      this.#notices.push(...freeNames(this.#place));
      const resolved = await this.#wanted.resolve(numbers);
      this.#assertWantedBy(signal);
      this.#notices.push(...resolved.unresolved.values());
      this.#closeOthers(resolved, numbers);
      runHooks('PreUp', hooks.preUp, this.#place.name);
      device = await this.#makeDevice(numbers);
      const connected = await this.#finish(device, resolved, { numbers, signal });
      runHooks('PostUp', hooks.postUp, this.#place.name);
      if (!isOpening) return connected;
      this.#open();
      return { ...connected, notices: [...this.#notices] };
    } catch (error) {
      const find = (): Link | undefined => {
        using ended = device;
        ended?.removeInside();
        return ended?.link;
      };
      const { failed } = sweep(this.#place, find, { keeps: wasClosed });
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
    const endpoints = await this.#wanted.endpointsAnew(peers, numbers);
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

  /** For a link that is to be in another namespace: one of its name where it is born is in its way. */
  #sweepRoot(): void {
    const { root } = this.#place;
    const standing = standingAt({ ...root, privateKey: this.#request.config.privateKey });
    const parts = { ...root, folder: standing?.folder ?? root.folder };
    this.#note(sweep(parts, standing?.link, { keeps: true, isElsewhere: standing === undefined }));
  }

  /** Takes away what a dead client, or another program with this key, has left. */
  #sweep(standing: Standing | undefined, keeps: boolean): void {
    const parts = { ...this.#place.root, at: this.#place.at, folder: standing?.folder ?? this.#place.folder };
    this.#note(sweep(parts, standing?.link, { keeps }));
    if (standing !== undefined && standing.mark === undefined) {
      this.#notices.push(...sweepQuick(parts, standing.fwMark));
    }
  }

  /** Before what stands goes, which nothing passed either. */
  #closeFirst(): void {
    try {
      this.#closeOthers(NOBODY, this.#numbers());
    } catch (error) {
      // nothing is taken away yet: all is to be as it was
      if (isClosed(this.#place)) removeFirewall(this.#place.netfilter, 'kill switch', this.#place.name);
      throw error;
    }
  }

  /** What a client before wanted closed, and this one does not. */
  #open(): void {
    const { netfilter, name } = this.#place;
    removeFirewall(netfilter, 'kill switch', name);
    this.#notices.push('the kill switch that stood is taken away: none is wanted any more');
  }

  #numbers(): Numbers {
    return inTurn(this.#place.common, () => this.#wanted.numbers());
  }

  /** Before the first packet of the tunnel: from then on nothing passes it. */
  #closeOthers(resolved: Resolved, numbers: Numbers): void {
    const table = this.#wanted.killSwitch(resolved, numbers);
    if (table !== undefined) bringTo(this.#place.netfilter, table);
  }

  async #makeDevice({ fwMark }: Numbers): Promise<TunnelDevice> {
    const { kernel, name, folder, at } = this.#place;
    const backend = this.#request.backend ?? availableWireguard();
    return TunnelDevice.make({ kernel, name, folder, at }, backend, ownMark(fwMark));
  }

  async #finish(
    device: TunnelDevice,
    resolved: Resolved,
    { numbers, signal }: { readonly numbers: Numbers; readonly signal: AbortSignal },
  ): Promise<Connected> {
    const { kernel, at } = this.#place;
    const { times } = this;
    const { config, timeoutMs, waitsForData } = this.#request;
    const known = { endpoints: resolved.endpoints, fwMark: numbers.fwMark };
    const parts = { device, resolved, fwMark: numbers.fwMark, times, timeoutMs, signal };
    // a device may begin as soon as it knows of its peers
    using first = timeoutMs === 0 ? undefined : new FirstHandshake(parts);
    device.bringTo(deviceOf(config, known, true), Date.now());
    const objects = tunnelObjects(config, device.link, numbers, at);
    kernel.apply(
      diff(
        [],
        objects.filter(({ kind }) => kind === 'address'),
      ),
    );
    const mtu = this.#wanted.mtu(resolved, numbers);
    // where others are behind it nothing passes unguarded, however soon the peer sends
    if (at !== ROOT) this.#guard(numbers);
    device.raise(mtu);
    if (at === ROOT && fullFamilies(config).includes('inet')) this.#followForwarding(resolved, numbers);
    const peer = await first?.wait();
    // what was said to have it begin
    device.bringTo(deviceOf(config, known, false), Date.now());
    if (at === ROOT) this.#guard(numbers);
    inTurn(this.#place.common, () => kernel.apply(this.#wanted.plan(objects)));
    if (peer !== undefined && waitsForData) {
      const inside = { kernel, at, link: device.link };
      await untilData({ device, inside, config, peer, timeoutMs, signal });
    }
    this.#notices.push(...this.#wanted.askNames(), ...this.#wanted.tellPast(), ...this.#wanted.tellOthers(numbers));
    const heard = peer === undefined ? {} : { peer };
    return { device, numbers, mtu, ...heard, resolved, notices: [...this.#notices], wasAdopted: false };
  }

  /**
   * What this host forwards for others comes back by the tunnel, as it did by the link that the tunnel takes the place of:
   * so it is let on as there.
   */
  #followForwarding({ endpoints }: Resolved, { fwMark }: Numbers): void {
    const { kernel, name } = this.#place;
    const forwards = [...endpoints.values()].some(({ address }) => {
      const way = kernel.withSocket(ROOT, (socket) => findWay(socket, address, fwMark));
      return way !== undefined && readSysctl(forwardingOf(way.link.name)) === '1';
    });
    if (forwards) writeSysctl(forwardingOf(name), '1');
  }

  /** What a default route needs beside rules. */
  #guard(numbers: Numbers): void {
    const { kernel, at, sysctls, name } = this.#place;
    const { config, forwards } = this.#request;
    const full = fullFamilies(config);
    const table = this.#wanted.way(numbers);
    if (table !== undefined) withNetfilter(this.#place, (socket) => bringTo(socket, table));
    if (forwards) kernel.inside(at, () => writeSysctl(forwardingOf(name), '1'));
    // where it is not the main table that leads there, the way back is another one
    if (typeof config.table === 'number' && config.table !== RT_TABLE_MAIN && at !== ROOT) {
      kernel.inside(at, () => writeSysctl(`net/ipv4/conf/${name}/rp_filter`, '0'));
    }
    if (full.includes('inet')) sysctls.want(name, SRC_VALID_MARK, '1');
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

function forwardingOf(link: string): string {
  return `net/ipv4/conf/${link}/forwarding`;
}

/** Whether a kill switch of that tunnel stands. */
function isClosed({ netfilter, name }: Workplace): boolean {
  return listFirewalls(netfilter).some(({ purpose, tunnel }) => purpose === 'kill switch' && tunnel === name);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
