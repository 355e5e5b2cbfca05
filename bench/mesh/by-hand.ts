import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Underlay, UnderlayHost } from '../../lab/underlay.ts';
import { waitUntil } from '../../lab/wait.ts';
import { addIpv4, formatIpv4, type Ipv4 } from '../../src/addr/ipv4.ts';
import { formatPrefix } from '../../src/addr/prefix.ts';
import { createNamespace, removeNamespace } from '../../src/linux/namespace.ts';
import { ProgramStart } from '../../src/linux/wireguard/program.ts';
import { generatePrivateKey } from '../../src/mesh/keys.ts';
import { DEFAULT_CLEAR_PORT } from '../../src/mesh/link.ts';
import type { MeshPeer } from '../../src/mesh/peers.ts';
import { publicKeyOf } from '../../src/plan/wireguard/private-key.ts';
import { MTU, PORT } from './mesh-host.ts';
import { subnetOf } from './strangers.ts';
import { WgShell } from './wg-shell.ts';

const LINK = 'wg0';

/** What a person makes with ip(8), wg(8) and wireguard-go: a device whose clear side is in a router namespace. */
export class ByHand implements Disposable {
  readonly peer: MeshPeer;
  readonly address: Ipv4;
  /** the pin of its router namespace */
  readonly router: string;
  readonly #underlay: Underlay;
  readonly #opened = new DisposableStack();
  readonly #shell: WgShell;

  private constructor(underlay: Underlay, place: UnderlayHost, peer: MeshPeer) {
    this.#underlay = underlay;
    this.peer = peer;
    this.address = addIpv4(peer.subnet.address, 1);
    this.router = join(place.folder, 'router');
    const folder = join(place.folder, 'wireguard');
    createNamespace(this.router, () => undefined);
    this.#opened.defer(() => removeNamespace(this.router));
    mkdirSync(folder, { recursive: true });
    underlay.inside(place, () => {
      using start = new ProgramStart(folder, LINK);
      waitUntil(() => start.isDone());
    });
    this.#shell = this.#opened.use(new WgShell(folder, place.folder));
    underlay.run(place.pin, 'ip', 'link', 'set', LINK, 'netns', this.router);
    this.#opened.defer(() => this.#ip('link', 'delete', LINK));
    this.#ip('link', 'set', LINK, 'mtu', String(MTU), 'up');
    this.#ip('link', 'set', 'lo', 'up');
  }

  static async make(underlay: Underlay, place: UnderlayHost, index: number): Promise<ByHand> {
    const privateKey = generatePrivateKey();
    const keys = [{ rotation: 0, publicKey: publicKeyOf(privateKey), port: PORT }];
    const { name, address } = place;
    const peer = { name, subnet: subnetOf(index), address, clearPort: DEFAULT_CLEAR_PORT, isOnLink: false, keys };
    const host = new ByHand(underlay, place, peer);
    const keyFile = join(place.folder, 'key');
    writeFileSync(keyFile, privateKey);
    await host.#shell.run('set', LINK, 'listen-port', String(PORT), 'private-key', keyFile);
    return host;
  }

  async know({ keys, address, subnet }: MeshPeer): Promise<void> {
    for (const { publicKey, port } of keys) {
      const at = ['endpoint', `${formatIpv4(address)}:${port}`];
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await this.#shell.run('set', LINK, 'peer', publicKey, ...at, 'allowed-ips', formatPrefix(subnet));
    }
    this.#ip('route', 'add', formatPrefix(subnet), 'dev', LINK);
  }

  [Symbol.dispose](): void {
    this.#opened.dispose();
  }

  #ip(...words: string[]): void {
    this.#underlay.run(this.router, 'ip', ...words);
  }
}
