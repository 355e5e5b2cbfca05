import type { CreateBody } from '../../../src/api/client/client.ts';
import { msText } from '../../figures.ts';
import type { ClusterStage, Host, Placed } from '../stage.ts';

/** Groups take turns with sandboxes that are in none. */
const KINDS = ['web', 'data', 'build', 'agents', undefined] as const;

/** What those without a group may reach by their policy: every sandbox there is, and it must not help them. */
const POLICY = { egress: 'internet', allow: ['10.64.0.0/10'] } satisfies CreateBody['policy'];

/** Creates sandboxes in groups, those of each group over all hosts. */
export async function create(stage: ClusterStage, count: number): Promise<void> {
  const { narrator, hosts, figures } = stage;
  narrator.act(`Create ${count} sandboxes in four groups and in none, over the three hosts`);
  const begin = performance.now();
  const made = await Promise.all(hosts.map((host, index) => createOn(host, index, count, hosts.length)));
  const tookMs = performance.now() - begin;
  stage.take(made.flat());
  figures.add('create', msText(tookMs), `${count} sandboxes, by three daemons, one after the other on each`);
  const perHost = made.map((ones, index) => `${ones.length} on ${hosts[index]?.name}`);
  narrator.prove({
    claim: 'no two have one address, on whatever host',
    done: `created ${count} and kept a ledger of what was answered`,
    seen: perHost.join(', '),
    observed: new Set(stage.sandboxes.map(({ sandbox }) => sandbox.hostAddress)).size,
    expected: count,
  });
}

/** Creates one sandbox on a host. */
export async function createOne(host: Host, id: string, group: string | undefined): Promise<Placed> {
  const part = group === undefined ? { policy: POLICY } : { group };
  const [sandbox] = await host.daemon.client.create({ id, topology: 'netns', ...part });
  if (sandbox === undefined) throw new Error(`${id} was not created`);
  return { sandbox, host };
}

async function createOn(host: Host, index: number, count: number, hosts: number): Promise<Placed[]> {
  const made: Placed[] = [];
  for (let number = index; number < count; number += hosts) {
    const turn = Math.floor(number / hosts);
    const group = KINDS[turn % KINDS.length];
    made.push(await createOne(host, `${group ?? 'alone'}-${host.name}-${Math.floor(turn / KINDS.length) + 1}`, group));
  }
  return made;
}
