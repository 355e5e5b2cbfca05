import { LabNamespace } from '../../../../lab/namespace.ts';
import { type Ipv4, parseIpv4 } from '../../../addr/ipv4.ts';

export type Side = {
  readonly host: LabNamespace;
  readonly router: LabNamespace;
  /** of the host, where the other one sends encrypted packets to */
  readonly outer: Ipv4;
  /** of the router's end of the tunnel */
  readonly inner: Ipv4;
};

/**
 * Two hosts and their routers, which have nothing but what is moved into them:
 *
 *     left.router         left.host                      right.host         right.router
 *     ┌────────────┐      ┌──────────────────┐           ┌───────────┐      ┌────────────┐
 *     │ wg0        │╌╌╌╌╌╌│ eth0             │───────────│ eth0      │╌╌╌╌╌╌│ wg0        │
 *     │ 10.9.0.1   │ UDP  │ 192.0.2.1        │           │ 192.0.2.2 │ UDP  │ 10.9.0.2   │
 *     └────────────┘      └──────────────────┘           └───────────┘      └────────────┘
 */
export class TunnelHosts implements AsyncDisposable {
  readonly left: Side;
  readonly right: Side;

  private constructor(namespaces: readonly [LabNamespace, LabNamespace, LabNamespace, LabNamespace]) {
    const [leftHost, leftRouter, rightHost, rightRouter] = namespaces;
    this.left = {
      host: leftHost,
      router: leftRouter,
      outer: parseIpv4('192.0.2.1'),
      inner: parseIpv4('10.9.0.1'),
    };
    this.right = {
      host: rightHost,
      router: rightRouter,
      outer: parseIpv4('192.0.2.2'),
      inner: parseIpv4('10.9.0.2'),
    };
    leftHost.ip(
      `link add eth0 type veth peer name eth0 netns ${rightHost.pid}`,
      'address add 192.0.2.1/24 dev eth0',
      'link set eth0 up',
    );
    rightHost.ip('address add 192.0.2.2/24 dev eth0', 'link set eth0 up');
  }

  static async make(): Promise<TunnelHosts> {
    return new TunnelHosts(
      await Promise.all([LabNamespace.make(), LabNamespace.make(), LabNamespace.make(), LabNamespace.make()]),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const namespaces = [this.left.router, this.right.router, this.left.host, this.right.host];
    await Promise.all(namespaces.map((namespace) => namespace.close()));
  }
}
