import type { Endpoint } from '../../lab/endpoint/endpoint.ts';
import type { StreamReport } from '../../lab/endpoint/protocol.ts';
import { OUTSIDE_ADDRESS } from '../../lab/host.ts';
import { msText } from '../figures.ts';
import type { Stage } from '../stage.ts';
import type { Neighbours } from './reach.ts';

/** ms between two packets of a stream */
export const INTERVAL_MS = 5;
/** Each stream has an echo of its own, whose socket holds more than a second of it. */
const FIRST_PORT = 7001;

type Flow = { readonly name: string; readonly from: Endpoint };

/** Steady traffic from inside of each topology to the outside, and from the host into a sandbox. */
export class Traffic {
  readonly #flows: readonly Flow[];

  private constructor(flows: readonly Flow[]) {
    this.#flows = flows;
  }

  static async start(stage: Stage, { outside, host }: Neighbours): Promise<Traffic> {
    const flows: Flow[] = [];
    let port = FIRST_PORT;
    for (const topology of ['microvm', 'netns', 'bridge'] as const) {
      const { sandbox, endpoint } = stage.resident(topology, 0);
      await outside.listen(port);
      await endpoint.stream(OUTSIDE_ADDRESS, port, INTERVAL_MS);
      flows.push({ name: `${sandbox.id} to the outside`, from: endpoint });
      port++;
    }
    const { sandbox, endpoint } = stage.resident('netns', 1);
    await endpoint.listen(port);
    await host.stream(sandbox.hostAddress, port, INTERVAL_MS);
    flows.push({ name: `the host to ${sandbox.id}`, from: host });
    return new Traffic(flows);
  }

  /** Ends the streams and proves that nothing of them was lost. */
  async proveWhole({ narrator, figures }: Stage): Promise<void> {
    const reports = await Promise.all(this.#flows.map(({ from }) => from.stopStream()));
    for (const [index, report] of reports.entries()) {
      const { sent, answered, lost, longestSilenceMs, roundTripMs, overflows } = report;
      narrator.prove({
        claim: `no packet was lost from ${this.#flows[index]?.name}`,
        done: `sent one every ${INTERVAL_MS} ms all the while and waited for its echo`,
        seen: `${sent} sent, ${answered} answered, at most ${msText(longestSilenceMs)} apart, after ${msText(roundTripMs)}`,
        observed: { isSent: sent > 0, lost: sent - answered, first: lost, overflows },
        expected: { isSent: true, lost: 0, first: [], overflows: 0 },
      });
    }
    const sum = (of: (report: StreamReport) => number): number => reports.reduce((total, one) => total + of(one), 0);
    figures.add(
      'packets while the daemon was killed',
      `${sum(({ sent }) => sent)} sent, ${sum(({ sent, answered }) => sent - answered)} lost`,
      `${reports.length} streams, there and back`,
    );
  }
}
