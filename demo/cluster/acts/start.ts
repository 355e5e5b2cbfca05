import type { HostResource } from '../../../src/api/client/client.ts';
import { type HostState, lookAtHost } from '../../audit/host.ts';
import { msText } from '../../figures.ts';
import type { ClusterStage } from '../stage.ts';
import { untilHosts } from '../wait.ts';

/** Starts etcd and the daemons. Returns what each host's own namespace was like before. */
export async function start(stage: ClusterStage): Promise<ReadonlyMap<string, HostState>> {
  const { narrator, underlay } = stage;
  narrator.act('Three hosts, one of them behind a router, an etcd, and a daemon on each host');
  const before = new Map(underlay.hosts.map(({ name, pin }) => [name, lookAtHost(underlay, pin)]));
  const begin = performance.now();
  await stage.start();
  await untilHosts(stage, () => areJoined(stage), 'each host to have a way to both others');
  const tookMs = performance.now() - begin;
  stage.figures.add('start of the cluster', msText(tookMs), 'an etcd and three daemons, until all packets pass');
  const tables = await Promise.all(stage.hosts.map(({ daemon }) => daemon.client.hosts()));
  const subnets = (tables[0] ?? []).map(({ name, subnet }) => `${name} ${subnet}`);
  narrator.prove({
    claim: 'each host has a subnet of its own, and all agree on whose is which',
    done: 'asked GET /v1/hosts of each',
    seen: subnets.join(', '),
    observed: { tables: tables.map(place), subnets: new Set(subnets.map((line) => line.split(' ')[1])).size },
    expected: { tables: stage.hosts.map(() => place(tables[0] ?? [])), subnets: stage.hosts.length },
  });
  return before;
}

function place(hosts: readonly HostResource[]): string[] {
  return hosts.map(({ name, subnet, generation, isAlive }) => `${name} ${subnet} ${generation} ${isAlive}`);
}

/** Whether packets of full size pass between each two. */
export async function areJoined({ hosts }: ClusterStage): Promise<boolean> {
  const meshes = await Promise.all(hosts.map(({ daemon }) => daemon.client.mesh()));
  return meshes.every(({ peers }) => {
    const whole = peers.filter(
      ({ isAlive, pathMtu, pathMtuBack }) => isAlive && pathMtu !== undefined && pathMtu === pathMtuBack,
    );
    return whole.length === hosts.length - 1;
  });
}
