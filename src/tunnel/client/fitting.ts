import type { SeenDevice } from '../../plan/wireguard/device.ts';
import type { RoutedConfig } from '../config/config.ts';
import type { Inside } from '../inside/echo-socket.ts';
import { Sizes } from '../inside/sizes.ts';
import { whomToAsk } from '../inside/whom.ts';
import { UncutPackets } from '../underlay/uncut.ts';
import { atLeast, sizeIn } from '../underlay/ways.ts';
import type { Connected } from './connected.ts';

export type FittingParts = {
  readonly inside: Inside;
  readonly config: RoutedConfig;
  readonly connected: Connected;
  /** bytes that the widest way out takes; absent where there is none */
  readonly room?: number | undefined;
  readonly changed: (mtu: number, former: number) => void;
  readonly failed: (error: unknown) => void;
};

/** bytes: of what passes in one look, less is no sign that anybody uses the tunnel */
const IDLE_BYTES = 256;
/** bytes: of a tunnel of a fixed size it is only asked whether somebody answers */
const SMALL = 576;
/** How often routers are asked, while the tunnel is used. */
const UNCUT_MS = 60_000;
/** bytes that WireGuard takes of a packet over IPv4 */
const OVERHEAD_IPV4 = 60;
/** How long a size holds that was found before, while it is asked again. */
const ADOPTED_MS = 60_000;

/**
 * Keeps a tunnel's link at the size that passes, where its config says no other: what its ways out take, as the kernel
 * knows it from routes and routers, and at most what has passed inside.
 */
export class Fitting implements Disposable {
  readonly #parts: FittingParts;
  readonly #sizes: Sizes;
  /** absent where what the device sends is not cut anyway, or the size is fixed */
  readonly #uncut: UncutPackets | undefined;
  /** bytes that the ways take, less what encryption adds */
  #whole: number;
  #mtu: number;
  /** bytes that were found to pass by whom it was adopted from */
  #adopted: number | undefined;
  readonly #begunMs = performance.now();
  #uncutMs = Number.NEGATIVE_INFINITY;
  #usedMs = performance.now();
  #passed = Number.NaN;
  #spent = 0;

  constructor(parts: FittingParts) {
    this.#parts = parts;
    const { inside, config, connected, room, failed } = parts;
    const { device, numbers, mtu } = connected;
    this.#mtu = mtu;
    this.#whole = room === undefined ? mtu : sizeIn(room, config.addresses);
    this.#adopted = mtu < this.#whole ? mtu : undefined;
    const whole = config.mtu === undefined ? this.#whole : SMALL;
    const whom = new Map(config.peers.map((peer) => [peer.publicKey, whomToAsk(config, peer)]));
    const changed = (): void => this.#resize();
    this.#sizes = new Sizes({ inside, whole, whom, changed, failed }, mtu);
    this.#sizes.wake();
    const isCut = device.kind === 'kernel' && config.mtu === undefined;
    this.#uncut = isCut ? new UncutPackets(numbers.fwMark) : undefined;
  }

  /** bytes */
  get mtu(): number {
    return this.#mtu;
  }

  /** @param room bytes that the widest way out takes; where there is none, the next one says how large packets may be */
  look(seen: SeenDevice, room: number | undefined): void {
    this.#feel(seen);
    if (room === undefined || this.#parts.config.mtu !== undefined) return;
    const whole = sizeIn(room, this.#parts.config.addresses);
    if (performance.now() - this.#begunMs > ADOPTED_MS) this.#adopted = undefined;
    if (whole !== this.#whole) this.#uncutMs = Number.NEGATIVE_INFINITY;
    this.#whole = whole;
    this.#sizes.resize(whole);
    this.#resize();
    this.#askRouters(seen);
  }

  /** Packets go another way: all is asked anew. */
  hurry(): void {
    this.#adopted = undefined;
    this.#uncutMs = Number.NEGATIVE_INFINITY;
    this.#sizes.hurry();
  }

  [Symbol.dispose](): void {
    this.#sizes[Symbol.dispose]();
    this.#uncut?.[Symbol.dispose]();
  }

  /** Whether anybody but the questions of sizes uses the tunnel. */
  #feel({ peers }: SeenDevice): void {
    const passed = [...peers.values()].reduce((sum, { sent, received }) => sum + sent + received, 0);
    const own = this.#sizes.spent - this.#spent;
    if (passed - this.#passed - own > IDLE_BYTES) {
      this.#sizes.wake();
      this.#usedMs = performance.now();
    }
    this.#passed = passed;
    this.#spent = this.#sizes.spent;
  }

  /** While the tunnel is used: whom nobody sends too large a packet, no router tells of it. */
  #askRouters({ peers }: SeenDevice): void {
    const nowMs = performance.now();
    const isIdle = nowMs - this.#usedMs > UNCUT_MS;
    if (this.#uncut === undefined || isIdle || nowMs - this.#uncutMs < UNCUT_MS) return;
    this.#uncutMs = nowMs;
    for (const { endpoint } of peers.values()) {
      if (endpoint !== undefined) this.#uncut.send(endpoint, this.#whole + OVERHEAD_IPV4);
    }
  }

  /** Has the link take what passes. */
  #resize(): void {
    const { config, connected, changed } = this.#parts;
    if (config.mtu !== undefined || !connected.device.isAlive) return;
    const passes = this.#sizes.size ?? this.#adopted ?? this.#whole;
    const mtu = atLeast(Math.min(this.#whole, passes), config.addresses);
    if (mtu === this.#mtu) return;
    const former = this.#mtu;
    connected.device.raise(mtu);
    this.#mtu = mtu;
    this.#sizes.linkMtu = mtu;
    changed(mtu, former);
  }
}
