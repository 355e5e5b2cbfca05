import type { Kernel } from '../../linux/apply.ts';
import { openBoundDatagrams } from '../../linux/inet/bound-datagrams.ts';
import { close } from '../../linux/syscall.ts';
import { meshAddress } from '../../mesh/address.ts';
import type { MeshOptions } from '../../mesh/host-mesh.ts';
import { clearLink, directLink, PROBE_PORT, tunnelLink } from '../../mesh/link.ts';
import type { Leg } from '../../mesh/way.ts';
import { ROUTER } from '../../plan/state.ts';
import type { ProbeDescriptors } from './legs.ts';

/**
 * The sockets by which hosts ask each other whether packets pass, one for each link that leads to them. Only who can enter
 * the router namespace can open them: the kernel thread does, and the main thread, which may wait for the network, has them.
 */
export class OpenedProbes implements Disposable {
  #descriptors: ProbeDescriptors | undefined;

  /** @throws SyscallError */
  constructor(kernel: Kernel, instance: string, { subnet }: Pick<MeshOptions, 'subnet'>) {
    const links = [
      ['even', tunnelLink(instance, 'even')],
      ['odd', tunnelLink(instance, 'odd')],
      ['wrapped', clearLink(instance)],
      ['direct', directLink(instance)],
    ] as const;
    const opened: [Leg, number][] = [];
    try {
      for (const [leg, { index }] of links) {
        const open = (): number => openBoundDatagrams(meshAddress(subnet), PROBE_PORT, index);
        opened.push([leg, kernel.inside(ROUTER, open)]);
      }
    } catch (error) {
      for (const [, fd] of opened) close(fd);
      throw error;
    }
    this.#descriptors = Object.fromEntries(opened) as ProbeDescriptors;
  }

  /** Once; they are the caller's to close from then on. */
  take(): ProbeDescriptors | undefined {
    const descriptors = this.#descriptors;
    this.#descriptors = undefined;
    return descriptors;
  }

  [Symbol.dispose](): void {
    for (const fd of Object.values(this.take() ?? {})) close(fd);
  }
}
