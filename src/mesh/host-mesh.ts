import { CulvertError } from '../errors.ts';
import type { Kernel } from '../linux/apply.ts';
import type { Link } from '../plan/state.ts';
import { publicKeyOf, readPrivateKey } from './keys.ts';
import { Mesh } from './mesh.ts';
import { type MeshPeer, type PeerChange, Peers } from './peers.ts';
import { type BackendKind, Tunnel } from './tunnel.ts';

export type MeshOptions = {
  readonly name: string;
  readonly subnet: MeshPeer['subnet'];
  /** of all hosts' subnets */
  readonly range: MeshPeer['subnet'];
  /** prefix length that no host's subnet is longer than */
  readonly unit: number;
  /** file with the private key */
  readonly keyFile: string;
  /** of UDP */
  readonly port: number;
  readonly backend: BackendKind;
  /** for a program's socket and log */
  readonly folder: string;
  /** those that were known when the host was last here */
  readonly known: readonly MeshPeer[];
};

/** How often the device and its routes are compared with what they should be. */
const RECONCILE_MS = 5_000;
/** How often it is looked whether the device is there. */
const WATCH_MS = 100;
/** How long after a failure it is tried again. */
const RETRY_MS = 1_000;

/**
 * The host's part of the mesh, kept up: what cannot be done now is done when it can. Others' packets take it whether or
 * not this process lives.
 */
export class HostMesh implements Disposable {
  readonly #options: MeshOptions;
  readonly #kernel: Kernel;
  readonly #link: Link;
  readonly #mtu: number;
  readonly #peers: Peers;
  #running: { readonly tunnel: Tunnel; readonly mesh: Mesh } | undefined;
  #isAll = false;
  #reconciledMs = Number.NEGATIVE_INFINITY;
  #restsUntilMs = Number.NEGATIVE_INFINITY;
  /** of the last attempt, for as long as none has followed */
  #failure: unknown;

  constructor(options: MeshOptions, parts: { readonly kernel: Kernel; readonly link: Link; readonly mtu: number }) {
    const { name, subnet, unit, keyFile, known } = options;
    this.#options = options;
    this.#kernel = parts.kernel;
    this.#link = parts.link;
    this.#mtu = parts.mtu;
    const publicKey = publicKeyOf(readPrivateKey(keyFile));
    this.#peers = new Peers(unit, { name, subnet, publicKey, keepalive_s: 0 });
    this.#peers.take(known.map((peer) => ({ name: peer.name, peer })));
  }

  /** What a person has to see to. */
  problems(): { readonly code: string; readonly message: string }[] {
    return [...this.#peers.refused].map(([name, reason]) => ({
      code: 'peer_refused',
      message: `No traffic with host ${name}: ${reason}`,
    }));
  }

  /**
   * Takes in what other hosts tell. What of it the device refuses is put right by {@link step}.
   *
   * @param isAll whether those that were not told of are no more. Before, what the device has of others stays: the host may
   *   remember less than it knew.
   */
  update(changes: readonly PeerChange[], isAll: boolean): void {
    this.#isAll = isAll;
    if (this.#running === undefined) {
      this.#peers.take(changes);
      return;
    }
    try {
      this.#running.mesh.update(changes);
    } catch (error) {
      this.#reconciledMs = Number.NEGATIVE_INFINITY;
      throw error;
    }
  }

  /**
   * A little of what keeps it up.
   *
   * @param nowMs of a clock that never goes back
   * @param repaired hears what was put right
   * @throws what kept it from being up when that was last tried
   */
  step(nowMs: number, repaired: (changes: readonly string[]) => void): void {
    if (nowMs < this.#restsUntilMs) {
      if (this.#failure !== undefined) throw this.#failure;
      return;
    }
    try {
      this.#keepUp(nowMs, repaired);
      this.#failure = undefined;
      this.#restsUntilMs = nowMs + WATCH_MS;
    } catch (error) {
      this.#failure = error;
      // what does not answer is waited for, and everything else waits with it
      const isSlow = error instanceof CulvertError && error.code === 'wireguard_slow';
      this.#restsUntilMs = nowMs + (isSlow ? RECONCILE_MS : RETRY_MS);
      throw error;
    }
  }

  #keepUp(nowMs: number, repaired: (changes: readonly string[]) => void): void {
    const isNew = this.#running === undefined;
    const running = (this.#running ??= this.#open());
    const isAlive = running.tunnel.isAlive;
    if (!isAlive) {
      // until that has been done it has nothing
      this.#reconciledMs = Number.NEGATIVE_INFINITY;
      running.tunnel.revive();
    }
    if (isAlive && nowMs - this.#reconciledMs < RECONCILE_MS) return;
    const changes = running.mesh.reconcile(Date.now(), { removes: this.#isAll });
    this.#reconciledMs = nowMs;
    if (!isAlive) repaired([`restart WireGuard ${this.#link.name}`, ...changes]);
    else if (!isNew && changes.length > 0) repaired(changes);
  }

  /** Puts right what is not as it should be, or with `dryRun` says what that is. */
  reconcile({ dryRun }: { readonly dryRun: boolean }): string[] {
    const running = this.#running;
    // a step that follows starts it
    if (running?.tunnel.isAlive !== true) return dryRun ? [`start WireGuard ${this.#link.name}`] : [];
    return running.mesh.reconcile(Date.now(), { removes: this.#isAll, dryRun });
  }

  /** Takes all of it away. */
  remove(): void {
    this[Symbol.dispose]();
    Tunnel.remove({ kernel: this.#kernel, link: this.#link, folder: this.#options.folder });
  }

  /** Lets go of it; it stays. */
  [Symbol.dispose](): void {
    this.#running?.tunnel[Symbol.dispose]();
    this.#running = undefined;
  }

  #open(): { readonly tunnel: Tunnel; readonly mesh: Mesh } {
    const { backend, folder, keyFile, port } = this.#options;
    const [kernel, link] = [this.#kernel, this.#link];
    const tunnel = new Tunnel({ kernel, link, mtu: this.#mtu, backend, folder });
    const privateKey = readPrivateKey(keyFile);
    return { tunnel, mesh: new Mesh({ kernel, tunnel, link, privateKey, listenPort: port, peers: this.#peers }) };
  }
}
