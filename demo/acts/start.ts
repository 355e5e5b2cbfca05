import { HOST_ADDRESS, OUTSIDE_ADDRESS } from '../../lab/host.ts';
import { type HostState, lookAtHost } from '../audit/host.ts';
import { msText } from '../figures.ts';
import type { Stage } from '../stage.ts';

/** No pool at first: what a network costs shows only where none is ready. */
const NO_POOL = { microvm: 0, netns: 0, bridge: 0 };

/** Starts the daemon. Returns what the host's own namespace was like before. */
export async function start({ narrator, lab, daemon, figures }: Stage): Promise<HostState> {
  narrator.act('A host and an outside, in namespaces of their own, and a daemon on the host');
  const before = lookAtHost(lab);
  narrator.say(`outside ${OUTSIDE_ADDRESS}, host ${HOST_ADDRESS}: links ${before.links.join(' and ')}, no rules`);
  const readyMs = await daemon.up(NO_POOL);
  figures.add('start of the daemon', msText(readyMs), 'the process, until it is ready, on an empty state folder');
  narrator.say(
    `culvert up is ready after ${msText(readyMs)}: pid ${daemon.pid}, leases in SQLite, API on a unix socket`,
  );
  const after = lookAtHost(lab);
  const added = (name: 'links' | 'tables'): string[] => after[name].filter((one) => !before[name].includes(one));
  narrator.prove({
    claim: 'all that shows of Culvert on the host is one link and one table',
    done: 'compared ip -j link and nft -j list ruleset before and after',
    seen: `link ${added('links').join(', ')}, table ${added('tables').join(', ')}`,
    observed: { links: added('links'), tables: added('tables') },
    expected: { links: ['cv-demo'], tables: ['inet culvert-demo'] },
  });
  return before;
}
