import { aliveKey, holdKey, hostKey, subnetKey } from './keys.ts';
import {
  type ClusterRecord,
  type EpochRecord,
  type HostRecord,
  writeClaim,
  writeHost,
  writeSession,
} from './records.ts';
import type { Lease, Revision, Write } from './registry.ts';
import type { OwnSession } from './session.ts';
import { unitsIn } from './subnets.ts';

/** They say how long a host is there, and how long its sandboxes may be. */
export type Leases = { readonly alive: Lease; readonly hold: Lease };

/** What a host has in a cluster. */
export type Membership = {
  readonly cluster: ClusterRecord;
  readonly host: HostRecord;
  /** of the host's record */
  readonly revision: Revision;
  /** how all send to each other, when it joined */
  readonly epoch: EpochRecord;
};

/** All that stands in the registry for one host. */
export function ownWrites(
  cluster: ClusterRecord,
  { name, session }: { readonly name: string; readonly session: OwnSession },
  host: HostRecord,
  { alive, hold }: Leases,
): Write[] {
  const { identity, generation } = host;
  const claim = writeClaim({ host: name, identity, generation });
  return [
    { key: hostKey(name), value: writeHost(host) },
    { key: aliveKey(name), value: writeSession({ generation, ...session }), lease: alive },
    ...unitsIn(cluster, host.subnet).flatMap((unit) => [
      { key: subnetKey(unit), value: claim },
      { key: holdKey(unit), value: name, lease: hold },
    ]),
  ];
}
