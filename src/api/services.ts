import type { Config } from '../daemon/config/config.ts';
import type { Engine } from '../daemon/engine.ts';
import type { EventLog } from './events/log.ts';
import type { Metrics } from './metrics.ts';

/** What the routes work with. */
export type Services = {
  readonly engine: Engine;
  readonly config: Config;
  readonly events: EventLog;
  readonly metrics: Metrics;
  /** How many connections the API has. */
  readonly connections: () => Promise<number>;
  /** How often a silent event stream shows that it is alive. */
  readonly heartbeatMs: number;
  /** Stops the daemon; called when the response to the request for it is out. */
  readonly stop: () => void;
  /** Takes note of a failure that is nobody's input: a defect, or a machine in trouble. */
  readonly report: (error: unknown) => void;
};
