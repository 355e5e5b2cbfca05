import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type HostState, lookAtHost, namesIn } from '../../audit/host.ts';
import type { ClusterStage } from '../stage.ts';

/** Keys of etcd that say what cluster there is, and how its hosts send to each other: they are nobody's. */
const FOR_GOOD = ['/cluster', '/epoch'];

/** Purges every host, and compares each with what it was before there was a daemon. */
export async function leave(stage: ClusterStage, before: ReadonlyMap<string, HostState>): Promise<void> {
  const { narrator, underlay, hosts, etcd } = stage;
  narrator.act('culvert down --purge, on each host');
  await Promise.all(hosts.map(({ daemon }) => daemon.client.shutdown({ purge: true })));
  const codes = await Promise.all(hosts.map(({ daemon }) => daemon.ended()));
  const left = hosts.map(({ name, place, daemon }) => ({
    name,
    state: lookAtHost(underlay, place.pin),
    pins: namesIn(daemon.pins),
    programs: existsSync(join(place.folder, 'run/wireguard'))
      ? namesIn(join(place.folder, 'run/wireguard')).filter((file) => file.endsWith('.sock'))
      : [],
  }));
  narrator.prove({
    claim: 'each host is as it was before there was a daemon',
    done: 'compared ip -j address, route, rule, nft -j list ruleset and forwarding settings with those at the start',
    seen: 'links lo and eth0, no table, no pin, no program that encrypts',
    observed: { left, codes },
    expected: {
      left: hosts.map(({ name }) => ({ name, state: before.get(name), pins: [], programs: [] })),
      codes: hosts.map(() => 0),
    },
  });
  const keys = etcd.control('get', '--prefix', '', '--keys-only').split('\n').filter(Boolean);
  narrator.prove({
    claim: 'and nothing of them is left in the registry but that there was a cluster, and how it sent',
    done: 'listed all keys of etcd',
    seen: keys.join(', '),
    observed: keys.filter((key) => !FOR_GOOD.some((end) => key.endsWith(end))),
    expected: [],
  });
}
