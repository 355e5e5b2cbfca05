import type { Hosts, KnownHost } from '../../cluster/hosts.ts';
import { readPublished, reasonOf } from '../../mesh/published.ts';
import { plainText } from '../../plain-text.ts';
import type { HostView } from '../engine.ts';

/** characters of a name that is longer than one may be */
const NAME_SHOWN = 63;

/** Which hosts are alive; undefined where that cannot be asked. */
export type Alive = ReadonlySet<string> | undefined;

/** All hosts that the registry tells of, by name, for people. @param own the name of the one that is asked */
export function hostViews(hosts: Hosts, alive: Alive, own: string): HostView[] {
  const readable = [...hosts.all.values()].map((host) => viewOf(host, hosts, { alive, own }));
  const others = [...hosts.unreadable].filter(([name]) => !hosts.all.has(name));
  const unreadable = others.map(([name, problem]) => ({
    name: plainText(name, NAME_SHOWN),
    isSelf: name === own,
    ...aliveOf(name, alive),
    problem,
  }));
  return [...readable, ...unreadable].toSorted(byName);
}

/** Of a host. */
export function aliveOf(name: string, alive: Alive): { readonly isAlive?: boolean } {
  return alive === undefined ? {} : { isAlive: alive.has(name) };
}

type Asked = { readonly alive: Alive; readonly own: string };

function viewOf({ name, record }: KnownHost, { unreadable }: Hosts, { alive, own }: Asked): HostView {
  const { subnet, generation, version } = record;
  const common = { name, isSelf: name === own, ...aliveOf(name, alive), subnet, generation, version };
  try {
    const problem = unreadable.get(name);
    return { ...common, mesh: readPublished(record.published), ...(problem === undefined ? {} : { problem }) };
  } catch (error) {
    return { ...common, problem: reasonOf(error) };
  }
}

export function byName(one: HostView, other: HostView): number {
  return one.name.localeCompare(other.name, 'en', { numeric: true });
}
