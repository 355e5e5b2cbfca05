import { CulvertError } from '../../errors.ts';
import { KernelWireguard } from '../../linux/wireguard/kernel.ts';
import { UserspaceWireguard } from '../../linux/wireguard/userspace.ts';
import type { SeenPeer } from '../../plan/wireguard/device.ts';

/** A peer as the device tells of it, without what only the device is to know. */
export type ShownPeer = Omit<SeenPeer, 'presharedKey'>;

export function shownPeer(peer: SeenPeer): ShownPeer {
  const { presharedKey: _, ...shown } = peer;
  return shown;
}

/**
 * Peers of a device of ours, the one that was heard last first, in the namespace of the calling thread.
 *
 * @param kind of its link
 * @param folder with the socket of a program
 * @returns undefined where it does not answer
 */
export function seenPeers(name: string, kind: string | undefined, folder: string): ShownPeer[] | undefined {
  try {
    using device = kind === 'wireguard' ? new KernelWireguard(name) : new UserspaceWireguard(folder, name);
    const peers = [...device.read().peers.values()].map(shownPeer);
    return peers.toSorted((one, other) => other.lastHandshakeMs - one.lastHandshakeMs);
  } catch (error) {
    // it ends just now, or hangs: there is more to list than this one
    if (error instanceof CulvertError) return undefined;
    throw error;
  }
}
