import { EventEmitter } from 'node:events';
import { CulvertError } from '../../errors.ts';
import type { SeenPeer } from '../../plan/wireguard/device.ts';
import type { BackendKind } from '../device/device.ts';
import { latestPeer, SESSION_MS } from '../handshake/wait.ts';
import { sweep } from '../takeover/sweep.ts';
import { type Connected, Connecting } from './connecting.ts';
import { onExit } from './exits.ts';
import { type ConnectOptions, readRequest } from './request.ts';
import { Workplace } from './workplace.ts';

export type TunnelEvents = {
  /** A new session with a peer has begun. */
  readonly handshake: [peer: SeenPeer];
  /** There was none for longer than a session lasts. */
  readonly stale: [peer: SeenPeer];
  /** A peer is heard from another address or port. */
  readonly roamed: [peer: SeenPeer, former: SeenPeer];
  /** The device is gone, or does not answer. */
  readonly down: [reason: string];
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
  readonly peers: readonly Omit<SeenPeer, 'presharedKey'>[];
};

/** How often it is looked how the tunnel is. */
const LOOK_MS = 1000;

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
  const place = new Workplace(request.name, options);
  try {
    return new Tunnel(place, await new Connecting(place, request).run(signal));
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
  readonly #connected: Connected;
  readonly #keep: () => void;
  readonly #looking: NodeJS.Timeout;
  #peers: ReadonlyMap<string, SeenPeer>;
  readonly #stale = new Set<string>();
  #isDown = false;
  #isOver = false;

  constructor(place: Workplace, connected: Connected) {
    super();
    this.#place = place;
    this.#connected = connected;
    this.notices = connected.notices;
    this.wasAdopted = connected.wasAdopted;
    this.#peers = connected.device.read().peers;
    this.#keep = onExit(() => this.close());
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
  }

  get name(): string {
    return this.#place.name;
  }

  async status(): Promise<TunnelStatus> {
    const { device, mtu, numbers } = this.#connected;
    const common = { name: this.name, backend: device.kind, mtu, fwMark: numbers.fwMark };
    if (this.#isOver || !device.isAlive) return { ...common, state: 'down', listenPort: 0, peers: [] };
    const seen = device.read();
    const latest = latestPeer(seen);
    const isLive = latest !== undefined && Date.now() - latest.lastHandshakeMs < SESSION_MS;
    return {
      ...common,
      state: isLive ? 'connected' : 'stale',
      listenPort: seen.listenPort,
      peers: [...seen.peers.values()].map(({ presharedKey: _, ...peer }) => peer),
    };
  }

  /** Takes all of it away. @throws AggregateError of what could not be done */
  async disconnect(): Promise<void> {
    this.close();
  }

  /** The same at once, for a process that ends. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#keep();
    clearInterval(this.#looking);
    const { device } = this.#connected;
    device[Symbol.dispose]();
    const { failed } = sweep(this.#place, device.link, { keeps: false });
    this.#place[Symbol.dispose]();
    if (failed.length === 0) return;
    const why = failed.map(({ message }) => message).join('; ');
    throw new AggregateError(failed, `Cannot take all of tunnel ${this.name} away: ${why}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  #look(): void {
    try {
      const { device } = this.#connected;
      if (!device.isAlive) throw new CulvertError('wireguard_away', `Tunnel ${this.name} is down: its device is gone`);
      this.#hear(device.read().peers);
      this.#isDown = false;
    } catch (error) {
      if (this.#isDown) return;
      this.#isDown = true;
      this.emit('down', error instanceof Error ? error.message : String(error));
    }
  }

  #hear(peers: ReadonlyMap<string, SeenPeer>): void {
    const nowMs = Date.now();
    for (const [key, peer] of peers) {
      const former = this.#peers.get(key);
      if (former !== undefined && hasRoamed(former, peer)) this.emit('roamed', peer, former);
      const isStale = nowMs - peer.lastHandshakeMs >= SESSION_MS;
      if (peer.lastHandshakeMs > (former?.lastHandshakeMs ?? 0)) this.emit('handshake', peer);
      if (isStale && peer.lastHandshakeMs > 0 && !this.#stale.has(key)) this.emit('stale', peer);
      if (isStale) this.#stale.add(key);
      else this.#stale.delete(key);
    }
    this.#peers = peers;
  }
}

function hasRoamed({ endpoint: former }: SeenPeer, { endpoint }: SeenPeer): boolean {
  if (former === undefined || endpoint === undefined) return false;
  return former.address !== endpoint.address || former.port !== endpoint.port;
}
