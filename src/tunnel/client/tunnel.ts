import { EventEmitter } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { formatIp } from '../../addr/ip.ts';
import { formatIpPrefix } from '../../addr/ip-prefix.ts';
import { CulvertError } from '../../errors.ts';
import { isNamespace } from '../../linux/namespace.ts';
import { type Link, ROOT } from '../../plan/state.ts';
import type { SeenPeer } from '../../plan/wireguard/device.ts';
import type { BackendKind, TunnelDevice } from '../device/device.ts';
import { latestPeer, SESSION_MS } from '../handshake/wait.ts';
import { onExit } from '../owner/exits.ts';
import { hasIpv6, withoutIpv6 } from '../plan/host-families.ts';
import { ownLink, sweep } from '../takeover/sweep.ts';
import type { Connected } from './connected.ts';
import { Connecting } from './connecting.ts';
import { namespaceOf } from './folders.ts';
import { runHooks } from './hooks.ts';
import { PeerWatch } from './peer-watch.ts';
import { clean } from './remains.ts';
import { type ConnectOptions, type ConnectRequest, readRequest } from './request.ts';
import { saveConfig } from './save.ts';
import { type ShownPeer, shownPeer } from './seen-peers.ts';
import { Staying } from './staying.ts';
import { Workplace } from './workplace.ts';

export type TunnelEvents = {
  /** A new session with a peer has begun. */
  readonly handshake: [peer: SeenPeer];
  /** It is sent to, and does not answer. */
  readonly stale: [peer: SeenPeer];
  /** A peer is heard from another address or port. */
  readonly roamed: [peer: SeenPeer, former: SeenPeer];
  /** It is of another size now, bytes. */
  readonly mtu: [mtu: number, former: number];
  /** Packets to an endpoint go another way now, in the words of ip-route(8). */
  readonly underlay: [endpoint: string, way: string];
  /** The machine slept, or this process was stopped, for so many ms. */
  readonly resumed: [pauseMs: number];
  /** One that was stale is heard again. */
  readonly heard: [peer: SeenPeer];
  /** The device is gone, or does not answer; it is made anew. */
  readonly down: [reason: string];
  /** It has been made anew. */
  readonly up: [notices: readonly string[]];
};

export type TunnelStatus = {
  readonly name: string;
  readonly state: 'connected' | 'stale' | 'down';
  readonly backend: BackendKind;
  /** bytes */
  readonly mtu: number;
  /** of encrypted packets; 0 for none */
  readonly fwMark: number;
  readonly listenPort: number;
  readonly peers: readonly ShownPeer[];
};

/** How often it is looked how the tunnel is. */
const LOOK_MS = 1000;
/** After the first, twice as long after each that follows. */
const REVIVE_MS = { first: 500, most: 30_000 } as const;
/** A device that does not answer as often, one look after the other, is made anew. */
const SLOW_MAX = 3;
/** How often it is looked anew where a peer is that does not answer. */
const REFRESH_MS = 10_000;

/**
 * Connects, and returns when there was a handshake; where there is none nothing is left. What a dead client has left of
 * the tunnel is taken over, or taken away.
 *
 * @param signal calls it off
 * @throws InputError `tunnel_config`, `tunnel_name`, `tunnel_options`: nothing was changed
 * @throws CulvertError `tunnel_in_use`, `link_in_use`, `endpoint_unresolved`, `no_answer`, `endpoint_refused`, `no_route`,
 *   … with what was seen
 */
export async function connect(options: ConnectOptions, signal = new AbortController().signal): Promise<Tunnel> {
  const request = readRequest(options);
  const { name } = request;
  const namespace = options.namespace === undefined ? undefined : resolve(options.namespace);
  if (namespace !== undefined && !isNamespace(namespace)) {
    throw new CulvertError('namespace_gone', `Cannot connect ${name}: there is no network namespace ${namespace}`);
  }
  const former = namespaceOf(name, options);
  // what a dead client has left where the link is not to be any more; of what cannot be done the next step tells
  const swept = former === undefined || former === namespace ? undefined : clean(name, options, { keeps: true });
  const place = new Workplace(name, options, namespace);
  try {
    const hasBoth = place.kernel.inside(place.at, hasIpv6);
    const fit = hasBoth ? request : { ...request, config: withoutIpv6(request.config) };
    const connecting = new Connecting(place, fit);
    for (const notice of noticesOf(options, request)) connecting.note(notice);
    for (const done of swept?.done ?? []) connecting.note(done);
    for (const { message } of swept?.failed ?? []) connecting.note(message);
    if (fit.config.addresses.length < request.config.addresses.length) {
      connecting.note('this host has IPv6 switched off: the tunnel has IPv4 alone');
    }
    const connected = await connecting.run(signal);
    try {
      return new Tunnel(place, connected, fit, connecting);
    } catch (error) {
      connected.device[Symbol.dispose]();
      const { failed } = sweep(place, connected.device.link, { keeps: false });
      if (failed.length > 0) throw new AggregateError([error, ...failed], String(error), { cause: error });
      throw error;
    }
  } catch (error) {
    place[Symbol.dispose]();
    throw error;
  }
}

/** A tunnel that this process keeps. It goes with the process, but for a kill switch where the process is killed. */
export class Tunnel extends EventEmitter<TunnelEvents> implements AsyncDisposable {
  /** what is to be known of how it was connected */
  readonly notices: readonly string[];
  readonly wasAdopted: boolean;
  readonly #place: Workplace;
  #connected: Connected;
  readonly #request: ConnectRequest;
  readonly #keep: () => void;
  readonly #looking: NodeJS.Timeout;
  #watch: PeerWatch;
  readonly #connecting: Connecting;
  #staying: Staying;
  readonly #over = new AbortController();
  /** while it is made anew */
  #revival: Promise<void> | undefined;
  #refreshedMs = Number.NEGATIVE_INFINITY;
  /** how often the device has not answered, in a row */
  #slow = 0;
  #isDown = false;
  /** how it has ended, or is about to */
  #end: 'closed' | 'left' | undefined;

  constructor(place: Workplace, connected: Connected, request: ConnectRequest, connecting: Connecting) {
    super();
    this.#request = request;
    this.#connecting = connecting;
    this.#place = place;
    this.#connected = connected;
    const { peer } = connected;
    const unwritten = peer && connecting.times.remember(peer.publicKey, Date.now());
    this.notices = [...connected.notices, ...(unwritten === undefined ? [] : [unwritten])];
    this.wasAdopted = connected.wasAdopted;
    this.#watch = new PeerWatch(connected.device.read().peers, performance.now());
    this.#staying = this.#stay(connected);
    this.#keep = onExit(() => (request.staysAtExit ? this.leave() : this.close()));
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
  }

  get name(): string {
    return this.#place.name;
  }

  async status(): Promise<TunnelStatus> {
    const { device, numbers } = this.#connected;
    const { mtu } = this.#staying;
    const common = { name: this.name, backend: device.kind, mtu, fwMark: numbers.fwMark };
    if (this.#end !== undefined || !device.isAlive) return { ...common, state: 'down', listenPort: 0, peers: [] };
    const seen = device.read();
    const latest = latestPeer(seen);
    const isLive = latest !== undefined && Date.now() - latest.lastHandshakeMs < SESSION_MS;
    return {
      ...common,
      state: isLive ? 'connected' : 'stale',
      listenPort: seen.listenPort,
      peers: [...seen.peers.values()].map(shownPeer),
    };
  }

  /** Takes all of it away. @throws AggregateError of what could not be done */
  async disconnect(): Promise<void> {
    this.#over.abort();
    await this.#revival;
    this.close();
  }

  /** Lets go of it: it stays, and whoever connects by its name next takes it over with its session. */
  leave(): void {
    if (this.#end !== undefined) return;
    this.#end = 'left';
    this.#over.abort();
    this.#keep();
    clearInterval(this.#looking);
    this.#staying[Symbol.dispose]();
    this.#connected.device[Symbol.dispose]();
    this.#letGo();
  }

  /** The same at once, for a process that ends. */
  close(): void {
    if (this.#end !== undefined) return;
    this.#end = 'closed';
    this.#over.abort();
    this.#keep();
    clearInterval(this.#looking);
    const { device } = this.#connected;
    const { mtu } = this.#staying;
    const { hooks, saveTo, source } = this.#request;
    const failed: Error[] = [];
    // none of it keeps the tunnel from going
    const attempt = (body: () => void): void => {
      try {
        body();
      } catch (error) {
        failed.push(error instanceof Error ? error : new Error(String(error)));
      }
    };
    attempt(() => this.#staying[Symbol.dispose]());
    attempt(() => runHooks('PreDown', hooks.preDown, this.name));
    // one that is dead has nothing to tell
    if (saveTo !== undefined && device.isAlive) attempt(() => saveConfig(saveTo, source, device.read(), mtu));
    failed.push(...this.#sweep(device));
    attempt(() => this.#letGo());
    attempt(() => runHooks('PostDown', hooks.postDown, this.name));
    if (failed.length === 0) return;
    const why = failed.map(({ message }) => message).join('; ');
    throw new AggregateError(failed, `Cannot take all of tunnel ${this.name} away: ${why}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  #sweep(device: TunnelDevice): readonly Error[] {
    const find = (): Link | undefined => {
      using ended = device;
      ended.removeInside();
      return ownLink(this.#place).link;
    };
    return sweep(this.#place, find, { keeps: false }).failed;
  }

  /** Of the place; who makes the device anew has it until that is called off. */
  #letGo(): void {
    const letGo = (): void => this.#place[Symbol.dispose]();
    if (this.#revival === undefined) letGo();
    else void this.#revival.finally(letGo);
  }

  #stay(connected: Connected): Staying {
    return new Staying({
      place: this.#place,
      request: this.#request,
      connected,
      connecting: this.#connecting,
      everyMs: LOOK_MS,
      news: {
        mtu: (mtu, former) => this.emit('mtu', mtu, former),
        underlay: (endpoint, way) => this.emit('underlay', formatIp(endpoint), way),
        resumed: (pauseMs) => this.emit('resumed', pauseMs),
        failed: (error) => this.#tellDown(error),
      },
    });
  }

  /** Makes it anew, again and again, until it is there or nobody wants it any more. */
  async #revive(): Promise<void> {
    const { signal } = this.#over;
    for (let waitMs: number = REVIVE_MS.first; ; waitMs = Math.min(REVIVE_MS.most, 2 * waitMs)) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pause(waitMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        this.#connecting.forget();
        // oxlint-disable-next-line no-await-in-loop -- likewise
        const connected = await this.#connecting.run(signal);
        this.#take(connected);
        return;
      } catch (error) {
        // where it was called off nothing of it is left
        if (signal.aborted) return;
        this.#isDown = false;
        this.#tellDown(error);
      }
    }
  }

  /** Goes on with a device that was made anew, unless it has ended in the very moment. */
  #take(connected: Connected): void {
    const { device, notices } = connected;
    // of what could not be done nobody hears any more: whoever connects next takes it away
    if (this.#end === 'closed') this.#sweep(device);
    else if (this.#end === 'left') device[Symbol.dispose]();
    if (this.#end !== undefined) return;
    try {
      this.#watch = new PeerWatch(device.read().peers, performance.now());
      this.#staying = this.#stay(connected);
    } catch (error) {
      // the next attempt takes it over, or away
      device[Symbol.dispose]();
      throw error;
    }
    this.#connected = connected;
    this.#slow = 0;
    this.#isDown = false;
    this.emit('up', notices);
  }

  #beginAnew(): void {
    this.#staying[Symbol.dispose]();
    this.#connected.device[Symbol.dispose]();
    this.#revival = this.#revive().finally(() => (this.#revival = undefined));
  }

  #look(): void {
    if (this.#revival !== undefined) return;
    try {
      const { device } = this.#connected;
      const { kernel, at, namespace } = this.#place;
      if (at !== ROOT && !isNamespace(kernel.pin(at))) {
        throw new CulvertError('namespace_gone', `Tunnel ${this.name} is down: its namespace ${namespace} is gone`);
      }
      if (!device.isAlive) {
        this.#beginAnew();
        throw new CulvertError('wireguard_away', `Tunnel ${this.name} is down: its device is gone`);
      }
      const seen = device.read();
      this.#hear(seen.peers);
      this.#staying.look(seen);
      this.#slow = 0;
      this.#isDown = false;
    } catch (error) {
      const isSlow = error instanceof CulvertError && error.code === 'wireguard_slow';
      // on a machine that is busy a program answers later
      if (isSlow && ++this.#slow < SLOW_MAX) return;
      if (isSlow) this.#beginAnew();
      this.#tellDown(error);
    }
  }

  #hear(peers: ReadonlyMap<string, SeenPeer>): void {
    const nowMs = performance.now();
    const all = this.#watch.look(peers, nowMs);
    // a kill switch lets nothing go where it does not know of
    if (all.some(({ kind }) => kind === 'roamed')) this.#connecting.follow(this.#connected);
    for (const news of all) {
      if (news.kind === 'handshake') this.#connecting.times.remember(news.peer.publicKey, Date.now());
      if (news.kind === 'roamed') this.emit('roamed', news.peer, news.former);
      else this.emit(news.kind, news.peer);
    }
    const { stale } = this.#watch;
    if (stale.length === 0 || nowMs - this.#refreshedMs < REFRESH_MS) return;
    this.#refreshedMs = nowMs;
    // what does not resolve now may later
    this.#connecting.refresh(this.#connected, stale).catch((error: unknown) => this.#tellDown(error));
  }

  #tellDown(error: unknown): void {
    if (this.#isDown || this.#end !== undefined) return;
    this.#isDown = true;
    this.emit('down', error instanceof Error ? error.message : String(error));
  }
}

/** What is asked for and does less than one may think. */
function noticesOf({ allowHooks, excludes = [] }: ConnectOptions, { source, allow }: ConnectRequest): string[] {
  const { preUp, postUp, preDown, postDown } = source.hooks;
  const hooks = Object.entries({ PreUp: preUp, PostUp: postUp, PreDown: preDown, PostDown: postDown });
  const unheard = hooks.flatMap(([name, lines]) => (lines.length === 0 ? [] : [name]));
  const isShut = allow !== undefined && excludes.some((text) => !allow.some((one) => formatIpPrefix(one) === text));
  return [
    ...(unheard.length === 0 || allowHooks === true
      ? []
      : [`${unheard.join(', ')} of the file are not run: say --allow-hooks`]),
    ...(isShut ? ['what is excluded is not reached past the kill switch: say --allow for it too'] : []),
  ];
}
