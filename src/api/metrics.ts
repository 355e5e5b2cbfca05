import type { Status } from '../daemon/engine.ts';

/** s: the upper ends of the buckets of a request's duration */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** How many types of events are told apart; what the engine calls them is not the API's to bound otherwise. */
const MAX_EVENT_TYPES = 200;

type Labels = Readonly<Record<string, string | number>>;

type Durations = { readonly labels: Labels; readonly counts: number[]; count: number; sum: number };

/** What the daemon counts, and its state, in the Prometheus text format, version 0.0.4. */
export class Metrics {
  readonly #durations = new Map<string, Durations>();
  readonly #events = new Map<string, number>();

  /** @param route the pattern, not the path: its values are few */
  countRequest(method: string, route: string, status: number, seconds: number): void {
    const key = `${method} ${route} ${status}`;
    let durations = this.#durations.get(key);
    if (durations === undefined) {
      durations = { labels: { method, route, status }, counts: BUCKETS.map(() => 0), count: 0, sum: 0 };
      this.#durations.set(key, durations);
    }
    const bucket = BUCKETS.findIndex((limit) => seconds <= limit);
    if (bucket >= 0) durations.counts[bucket] = (durations.counts[bucket] ?? 0) + 1;
    durations.count += 1;
    durations.sum += seconds;
  }

  countEvent(type: string): void {
    const known = this.#events.has(type) || this.#events.size < MAX_EVENT_TYPES ? type : 'other';
    this.#events.set(known, (this.#events.get(known) ?? 0) + 1);
  }

  text(status: Status, streams: number, connections: number): string {
    const { user, system } = process.cpuUsage();
    return [
      ...family('culvert_info', 'gauge', 'The daemon', [[{ name: status.name, version: status.version }, 1]]),
      ...family('culvert_start_time_seconds', 'gauge', 'When the daemon started, since the epoch', [
        [{}, status.startedWallMs / 1000],
      ]),
      ...family('culvert_sandboxes', 'gauge', 'Sandboxes that are live', byTopology(status.live)),
      ...family('culvert_warm_networks', 'gauge', 'Networks that wait for an owner', byTopology(status.warm)),
      ...family('culvert_slots', 'gauge', 'Slots that hold no live sandbox', [
        [{ state: 'quarantined' }, status.quarantined],
        [{ state: 'removing' }, status.removing],
        [{ state: 'free' }, status.freeSlots],
      ]),
      ...family('culvert_adopting', 'gauge', 'Whether sandboxes of an earlier run are still to be verified', [
        [{}, Number(status.adopting)],
      ]),
      ...family('culvert_draining', 'gauge', 'Whether the host takes no new sandboxes', [
        [{}, Number(status.drainingSinceWallMs !== undefined)],
      ]),
      ...family('culvert_flows', 'gauge', 'Entries of connection tracking', [
        [{ namespace: 'root' }, status.flows.root],
        [{ namespace: 'router' }, status.flows.router],
      ]),
      ...family('culvert_flows_max', 'gauge', 'Entries that a namespace may have', [[{}, status.flows.most]]),
      ...family('culvert_name_queries_total', 'counter', 'Questions for names', byOutcome(status.names)),
      ...family(
        'culvert_problem',
        'gauge',
        'What a person should act on',
        Object.entries(countBy(status.problems.map(({ code }) => code))).map(([code, count]) => [{ code }, count]),
      ),
      ...family(
        'culvert_events_total',
        'counter',
        'Events since the daemon started',
        [...this.#events].map(([type, count]) => [{ type }, count]),
      ),
      ...family('culvert_event_streams', 'gauge', 'Event streams that are open', [[{}, streams]]),
      ...family('culvert_http_connections', 'gauge', 'Connections to the API', [[{}, connections]]),
      ...this.#requestLines(),
      ...family('process_cpu_seconds_total', 'counter', 'CPU time of the daemon', [[{}, (user + system) / 1e6]]),
      ...family('process_resident_memory_bytes', 'gauge', 'Resident memory of the daemon', [
        [{}, process.memoryUsage.rss()],
      ]),
      '',
    ].join('\n');
  }

  #requestLines(): string[] {
    const name = 'culvert_http_request_duration_seconds';
    const lines = [`# HELP ${name} How long requests to the API took`, `# TYPE ${name} histogram`];
    for (const { labels, counts, count, sum } of this.#durations.values()) {
      let below = 0;
      for (const [index, limit] of BUCKETS.entries()) {
        below += counts[index] ?? 0;
        lines.push(sample(`${name}_bucket`, { ...labels, le: limit }, below));
      }
      lines.push(sample(`${name}_bucket`, { ...labels, le: '+Inf' }, count));
      lines.push(sample(`${name}_sum`, labels, sum), sample(`${name}_count`, labels, count));
    }
    return lines;
  }
}

function family(name: string, type: string, help: string, samples: readonly (readonly [Labels, number])[]): string[] {
  return [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(([labels, value]) => sample(name, labels, value)),
  ];
}

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([key, label]) => `${key}="${escaped(String(label))}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
}

function escaped(label: string): string {
  return label.replaceAll('\\', String.raw`\\`).replaceAll('"', String.raw`\"`).replaceAll('\n', String.raw`\n`);
}

function byTopology(counts: Status['live']): [Labels, number][] {
  return Object.entries(counts).map(([topology, count]) => [{ topology }, count]);
}

function byOutcome(counts: Status['names'] = { answered: 0, refused: 0, dropped: 0 }): [Labels, number][] {
  return Object.entries(counts).map(([outcome, count]) => [{ outcome }, count]);
}

function countBy(keys: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}
