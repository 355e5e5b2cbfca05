import { LabNamespace } from './namespace.ts';
import type { Vpn } from './vpn.ts';

/** Where the server is reached by detours, of both families. */
export const FAR = { four: '198.51.100.1', six: '2001:db8:f00::1' };

/** nft(8) of a router that tells nobody that a packet was too large. */
const SILENT = `table inet silent {
  chain output {
    type filter hook output priority 0
    icmp type destination-unreachable drop
    icmpv6 type packet-too-big drop
  }
}`;

/**
 * Another way from a client to its server, over two routers; number N of them:
 *
 *     client                near              far                 server
 *     wayN 10.N.1.2/24 ──── 10.N.1.1 ──────── 10.N.3.2 ───────── 10.N.2.1, and FAR on its loopback
 *                                    middle
 *
 * Each link takes 1500 bytes. It is gone when it is disposed of.
 */
export class Detour implements AsyncDisposable {
  readonly #vpn: Vpn;
  readonly #number: number;
  readonly #near: LabNamespace;
  readonly #far: LabNamespace;

  private constructor(vpn: Vpn, number: number, [near, far]: readonly [LabNamespace, LabNamespace]) {
    this.#vpn = vpn;
    this.#number = number;
    this.#near = near;
    this.#far = far;
  }

  static async make(vpn: Vpn, number: number): Promise<Detour> {
    const detour = new Detour(vpn, number, await Promise.all([LabNamespace.make(), LabNamespace.make()]));
    detour.#lay();
    return detour;
  }

  /** of the client's end */
  get link(): string {
    return `way${this.#number}`;
  }

  /** the client's next hop */
  get gateway(): string {
    return `10.${this.#number}.1.1`;
  }

  /** Has the client go this way from now on. */
  use(): void {
    const { client } = this.#vpn;
    client.namespace.ip(
      `route replace ${FAR.four} via ${this.gateway}`,
      `route replace ${FAR.six} via fd00:${this.#number}:1::1`,
    );
  }

  /** @param mtu bytes that pass between the routers */
  narrow(mtu: number): void {
    for (const side of [this.#near, this.#far]) side.ip(`link set middle mtu ${mtu}`);
  }

  /** @param mtu bytes of the client's own link */
  narrowLink(mtu: number): void {
    this.#vpn.client.namespace.ip(`link set ${this.link} mtu ${mtu}`);
    this.#near.ip(`link set client mtu ${mtu}`);
  }

  /** Has routers tell nobody what they drop. */
  silence(): void {
    for (const side of [this.#near, this.#far]) side.feed(SILENT, 'nft', '-f', '-');
  }

  /** Nothing passes any more. */
  cut(): void {
    this.#near.ip('link set middle down');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#near.close(), this.#far.close()]);
  }

  #lay(): void {
    const [near, far, n] = [this.#near, this.#far, this.#number];
    const { client, server } = this.#vpn;
    client.namespace.ip(`link add ${this.link} type veth peer name client netns ${near.pid}`);
    near.ip(`link add middle type veth peer name middle netns ${far.pid}`);
    server.namespace.ip(`link add ${this.link} type veth peer name server netns ${far.pid}`);
    for (const side of [near, far]) {
      side.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    }
    const lay = (side: LabNamespace, link: string, net: number, host: number): void =>
      side.ip(
        `address add 10.${n}.${net}.${host}/24 dev ${link}`,
        `address add fd00:${n}:${net}::${host}/64 dev ${link} nodad`,
        `link set ${link} up`,
      );
    lay(client.namespace, this.link, 1, 2);
    lay(near, 'client', 1, 1);
    lay(near, 'middle', 3, 1);
    lay(far, 'middle', 3, 2);
    lay(far, 'server', 2, 2);
    lay(server.namespace, this.link, 2, 1);
    near.ip(`route add default via 10.${n}.3.2`, `route add default via fd00:${n}:3::2`);
    far.ip(
      `route add 10.${n}.1.0/24 via 10.${n}.3.1`,
      `route add fd00:${n}:1::/64 via fd00:${n}:3::1`,
      `route add ${FAR.four} via 10.${n}.2.1`,
      `route add ${FAR.six} via fd00:${n}:2::1`,
    );
    server.namespace.ip(
      `address replace ${FAR.four}/32 dev lo`,
      `address replace ${FAR.six}/128 dev lo nodad`,
      `route add 10.${n}.1.0/24 via 10.${n}.2.2`,
      `route add fd00:${n}:1::/64 via fd00:${n}:2::2`,
    );
  }
}
