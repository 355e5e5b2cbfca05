import { createNamespace } from '../../src/linux/namespace.ts';
import type { LabHost } from '../host.ts';
import { LineProcess } from '../line-process.ts';

const WIRE = new URL('wire.ts', import.meta.url).pathname;

/** What a guest must know of its sandbox, as the API says it. */
export type GuestNetwork = {
  /** The pin of the namespace that has the TAP. */
  readonly netns: string;
  readonly tap: string;
  readonly mac: string;
  readonly guestAddress: string;
  readonly gateway: string;
  /** bytes */
  readonly mtu: number;
};

/**
 * Stands in for a virtual machine: a namespace whose `eth0` is joined with a sandbox's TAP, frame by frame, and set up
 * as a guest's would be. What it sends and hears is what a guest would, and it is there in milliseconds.
 *
 *     this namespace                          the sandbox's namespace
 *     169.254.0.21 eth0 ── wire.ts copies ─── tap0 ── eth0 ── router
 */
export class StandIn implements Disposable {
  /** The pin of its namespace. */
  readonly netns: string;
  readonly #wire: LineProcess;

  private constructor(netns: string, wire: LineProcess) {
    this.netns = netns;
    this.#wire = wire;
  }

  /** @param name no other namespace of the lab has */
  static async start(lab: LabHost, name: string, network: GuestNetwork): Promise<StandIn> {
    const netns = lab.pin(name);
    createNamespace(netns, () => undefined);
    const wire = new LineProcess(network.netns, process.execPath, [WIRE, network.tap, netns]);
    const standIn = new StandIn(netns, wire);
    try {
      await wire.line();
      const { mac, guestAddress, gateway, mtu } = network;
      for (const line of [
        'link set lo up',
        `link set eth0 address ${mac} mtu ${mtu} up`,
        // the gateway is on the link whatever the length of its network is
        `address add ${guestAddress}/32 dev eth0`,
        `route add ${gateway} dev eth0`,
        `route add default via ${gateway} dev eth0`,
      ]) {
        lab.run(netns, 'ip', ...line.split(' '));
      }
      return standIn;
    } catch (error) {
      standIn[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#wire[Symbol.dispose]();
  }
}
