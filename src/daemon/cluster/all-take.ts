import type { Wish } from '../../cluster/epoch.ts';
import { Hosts } from '../../cluster/hosts.ts';
import { HOSTS } from '../../cluster/keys.ts';
import type { EpochRecord } from '../../cluster/records.ts';
import type { Registry } from '../../cluster/registry.ts';
import { InputError } from '../../errors.ts';
import { readPublished } from '../../mesh/published.ts';

/**
 * Packets that a host cannot take are not wished for; those that are less than they are now help, if not enough.
 *
 * @param now that the wish is to follow; a host that joins later has to take what it says
 * @throws InputError `mtu_too_large`; CulvertError `registry_*`
 */
export async function assertAllTake(registry: Registry, { mtu }: Wish, now: EpochRecord): Promise<void> {
  if (mtu === undefined || mtu <= now.mtu) return;
  const hosts = new Hosts();
  hosts.take({ kind: 'all', ...(await registry.list(HOSTS)) });
  const [least] = [...hosts.all.values()]
    .flatMap(({ name, record }) => takenBy(name, record.published))
    .toSorted((one, other) => one.takes - other.takes);
  if (least === undefined || mtu <= least.takes) return;
  const message = `Cannot raise the MTU to ${mtu}: host ${least.name} takes ${least.takes}; raise the MTU of its uplink by ${mtu - least.takes}, or want no more than ${least.takes}`;
  throw new InputError('mtu_too_large', message, { field: 'mtu' });
}

/** Nobody has traffic with a host whose record says nothing of use. */
function takenBy(name: string, published: unknown): { readonly name: string; readonly takes: number }[] {
  try {
    return [{ name, takes: readPublished(published).mtu }];
  } catch {
    return [];
  }
}
