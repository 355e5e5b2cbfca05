import { LabNamespace } from '../../../../lab/namespace.ts';
import { type Ipv4, parseIpv4 } from '../../../addr/ipv4.ts';
import { type Ipv6, parseIpv6 } from '../../../addr/ipv6.ts';
import { indexOf } from './lab-device.ts';

export type Side = {
  readonly host: LabNamespace;
  readonly router: LabNamespace;
  /** of the host, where the other one sends encrypted packets to */
  readonly outer: Ipv4;
  readonly outer6: Ipv6;
  /** likewise, by eth0 alone */
  readonly linkLocal: Ipv6;
  /** index of eth0 in the host */
  readonly uplink: number;
  /** of the router's end of the tunnel */
  readonly inner: Ipv4;
  readonly inner6: Ipv6;
};

function sideOf(host: LabNamespace, router: LabNamespace, number: number): Side {
  host.ip(
    `address add 192.0.2.${number}/24 dev eth0`,
    `address add 2001:db8::${number}/64 dev eth0 nodad`,
    `address add fe80::${number}/64 dev eth0 nodad`,
    'link set eth0 up',
  );
  return {
    host,
    router,
    outer: parseIpv4(`192.0.2.${number}`),
    outer6: parseIpv6(`2001:db8::${number}`),
    linkLocal: parseIpv6(`fe80::${number}`),
    uplink: host.within(() => indexOf('eth0')) ?? 0,
    inner: parseIpv4(`10.9.0.${number}`),
    inner6: parseIpv6(`fd00:9::${number}`),
  };
}

/**
 * Two hosts and their routers, which have nothing but what is moved into them:
 *
 *     left.router         left.host                      right.host         right.router
 *     ┌────────────┐      ┌──────────────────┐           ┌───────────┐      ┌────────────┐
 *     │ wg0        │╌╌╌╌╌╌│ eth0             │───────────│ eth0      │╌╌╌╌╌╌│ wg0        │
 *     │ 10.9.0.1   │ UDP  │ 192.0.2.1        │           │ 192.0.2.2 │ UDP  │ 10.9.0.2   │
 *     │ fd00:9::1  │      │ 2001:db8::1      │           │ …db8::2   │      │ fd00:9::2  │
 *     │            │      │ fe80::1          │           │ fe80::2   │      │            │
 *     └────────────┘      └──────────────────┘           └───────────┘      └────────────┘
 */
export class TunnelHosts implements AsyncDisposable {
  readonly left: Side;
  readonly right: Side;

  private constructor(namespaces: readonly [LabNamespace, LabNamespace, LabNamespace, LabNamespace]) {
    const [leftHost, leftRouter, rightHost, rightRouter] = namespaces;
    leftHost.ip(`link add eth0 type veth peer name eth0 netns ${rightHost.pid}`);
    this.left = sideOf(leftHost, leftRouter, 1);
    this.right = sideOf(rightHost, rightRouter, 2);
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
