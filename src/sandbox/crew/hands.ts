import type { Kernel } from '../../linux/apply.ts';
import { NamespaceHandle } from '../../linux/namespace.ts';
import { findLinks, linkObjects, listLinks } from '../../linux/observe/links.ts';
import { readLinkEnd } from '../../linux/route/ifreq.ts';
import { deleteLink } from '../../linux/route/link.ts';
import { SyscallError } from '../../linux/syscall.ts';
import { diff } from '../../plan/diff.ts';
import { type NamespaceName, ROUTER } from '../../plan/state.ts';
import type { Part } from '../outside.ts';
import { desired } from '../topology/desired.ts';
import { BRIDGE, cable, ETH0, type Layout, sandboxNamespace } from '../topology/layout.ts';
import type { Network } from '../topology/network.ts';
import { isViaLink } from '../via.ts';
import { isLink, isWhole, ofNetwork } from '../whole.ts';
import type { Job, Task } from './job.ts';

/** What one thread does the tasks with. */
export class Hands implements Disposable {
  readonly #kernel: Kernel;
  readonly #layout: Layout;
  /** Namespaces that are to go together, see {@link rest}. */
  readonly #held: NamespaceHandle[] = [];

  constructor(kernel: Kernel, layout: Layout) {
    this.#kernel = kernel;
    this.#layout = layout;
  }

  /**
   * Does the next item that nobody has taken; false where there is none. Where one cannot be built the rest need not be.
   *
   * @param failed hears of an item before it has its outcome
   */
  workOn(job: Job, task: Task, networks: readonly Network[], failed: (index: number, error: unknown) => void): boolean {
    const index = job.take();
    const network = index === undefined ? undefined : networks[index];
    if (index === undefined || network === undefined) return false;
    try {
      job.settle(index, this.#perform(task, network) ? 'done' : 'differs');
    } catch (error) {
      failed(index, error);
      if (task === 'build') job.cancel();
      job.settle(index, 'failed');
    }
    return true;
  }

  /**
   * Lets go of what was cleared. The kernel clears up all namespaces that it finds waiting in one go, for a few grace
   * periods in which nobody else gets the RTNL lock: the more go together the less creations wait.
   */
  rest(): void {
    for (const handle of this.#held.splice(0)) handle[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.rest();
  }

  #perform(task: Task, network: Network): boolean {
    switch (task) {
      case 'build':
        this.#kernel.apply(diff([], desired(network, this.#layout)));
        return true;
      case 'clear':
        this.#clear(network);
        return true;
      case 'compare':
        return this.#compare(network);
    }
  }

  /** Repeating a removal after a crash must not fail on what is gone: only what exists is taken away. */
  #clear(network: Network): void {
    const kernel = this.#kernel;
    const namespace = sandboxNamespace(network.slot);
    const exists = kernel.exists(namespace);
    const objects = desired(network, this.#layout).filter(({ kind }) => kind !== 'namespace' || exists);
    if (exists) this.#held.push(new NamespaceHandle(kernel.pin(namespace)));
    if (exists && network.hasTunnel) this.#endTunnel(namespace);
    kernel.remove(diff(objects, []));
  }

  /** Whoever stays in the namespace has no way out from now on, though nobody finds it any more by its pin. */
  #endTunnel(namespace: NamespaceName): void {
    this.#kernel.withSocketIfThere(namespace, (socket) => {
      const links = listLinks(socket, namespace).map(({ end }) => end.link);
      const errors = socket.batch(links.filter(({ name }) => isViaLink(name)).map(deleteLink));
      const failure = errors.find((error) => error !== undefined && error.errnoName !== 'ENODEV');
      if (failure !== undefined) throw failure;
    });
  }

  #compare(network: Network): boolean {
    const namespace = sandboxNamespace(network.slot);
    const wanted = desired(network, this.#layout);
    try {
      return (
        isWhole(ofNetwork(this.#kernel.look(namespace, wanted), network), wanted, namespace) &&
        isWhole(this.#lookAtCable(network), wanted.filter(isLink), ROUTER)
      );
    } catch (error) {
      // what keeps it from being looked into is for who repairs it to say
      if (error instanceof SyscallError) return false;
      throw error;
    }
  }

  /** That its other end is the sandbox's is for the inside to say. */
  #lookAtCable({ topology, slot }: Network): Part {
    const link = cable(slot);
    return this.#kernel.withSocket(ROUTER, (socket) => {
      if (topology !== 'bridge') {
        const end = readLinkEnd(socket, ROUTER, link.index);
        return { objects: [], halves: end === undefined ? [] : [{ end, peerIndex: ETH0.index }] };
      }
      // what makes a link a port only netlink tells
      const { objects, halves } = linkObjects(ROUTER, findLinks(socket, ROUTER, [link, BRIDGE]));
      return { objects: objects.filter(isLink), halves };
    });
  }
}
