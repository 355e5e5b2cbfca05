import { buildArp } from '../../lab/frame.ts';
import type { LabHost } from '../../lab/host.ts';
import { RawLink } from '../../lab/raw-link.ts';
import { createNamespace, NamespaceHandle, removeNamespace } from '../../src/linux/namespace.ts';
import { pause_ms } from './lab-core.ts';

export const EVERYONE = 'ff:ff:ff:ff:ff:ff';

/**
 * Somebody on the bridge who is no sandbox, as where an operator puts a network card there:
 *
 *     router                          stranger
 *     rt0 ─── lan0 ────────────────── eth0, with the addresses that it is given
 */
export class Stranger implements Disposable {
  readonly #lab: LabHost;
  readonly #router: string;

  /** @param router the pin of the router's namespace */
  constructor(lab: LabHost, router: string, ...addresses: string[]) {
    this.#lab = lab;
    this.#router = router;
    const pin = lab.pin('stranger');
    createNamespace(pin, () => undefined);
    lab.run('stranger', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6');
    lab.run('stranger', 'ip', 'link', 'set', 'lo', 'up');
    for (const address of addresses) lab.run('stranger', 'ip', 'address', 'add', `${address}/32`, 'dev', 'lo');
    this.plugIn();
  }

  plugIn(): void {
    const ends = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', this.#lab.pin('stranger')];
    this.#lab.run(this.#router, 'ip', 'link', 'add', 'lan0', ...ends);
    this.#lab.run(this.#router, 'ip', 'link', 'set', 'lan0', 'master', 'rt0', 'up');
    this.#lab.run('stranger', 'ip', 'link', 'set', 'eth0', 'up');
    // the kernel lets frames through when it has noticed that the other end is up
    while (!this.#lab.run(this.#router, 'ip', 'link', 'show', 'lan0').includes('state UP')) pause_ms(10);
  }

  get mac(): string {
    return linkOf(this.#lab, 'stranger').address;
  }

  /** Says that an address is its own. */
  claim(address: string): void {
    using link = this.link();
    link.send(buildArp({ from: this.mac, to: EVERYONE }, 1, { mac: this.mac, ip: address }, address));
  }

  giveUp(address: string): void {
    this.#lab.run('stranger', 'ip', 'address', 'del', `${address}/32`, 'dev', 'lo');
  }

  link(): RawLink {
    return rawLink(this.#lab, 'stranger');
  }

  [Symbol.dispose](): void {
    removeNamespace(this.#lab.pin('stranger'));
  }
}

/** eth0 of a namespace as frames. */
export function rawLink(lab: LabHost, where: string): RawLink {
  const within = <T>(body: () => T): T => {
    using handle = new NamespaceHandle(lab.pin(where));
    return handle.run(body);
  };
  return new RawLink({ within }, linkOf(lab, where).ifindex);
}

function linkOf(lab: LabHost, where: string): { readonly ifindex: number; readonly address: string } {
  const [link] = JSON.parse(lab.run(where, 'ip', '-j', 'link', 'show', 'eth0')) as {
    ifindex: number;
    address: string;
  }[];
  if (link === undefined) throw new Error(`No eth0 in ${where}`);
  return link;
}
