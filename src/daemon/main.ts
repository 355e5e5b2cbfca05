import { mkdirSync } from 'node:fs';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { createApp } from '../api/app.ts';
import { EventLog } from '../api/events/log.ts';
import { Metrics } from '../api/metrics.ts';
import { closeApiServer, countConnections, createApiServer, SERVER_TIMES, type ServerTimes } from '../api/server.ts';
import { readToken, tokenCheck } from '../api/token.ts';
import { CulvertError } from '../errors.ts';
import type { Config } from './config/config.ts';
import type { Engine } from './engine.ts';
import { listenTcp, listenUnix } from './listen.ts';
import { removePidFile, writePidFile } from './pid-file.ts';

/** How many events a stream that comes back can catch up on. */
const EVENTS_KEPT = 10_000;

/** ms */
const HEARTBEAT_MS = 15_000;

export type Timing = { readonly server?: Partial<ServerTimes>; readonly heartbeatMs?: number };

export type Daemon = {
  readonly socketPath: string;
  /** The port that TCP is served on, where it is. */
  readonly tcpPort: number | undefined;
  /** Resolves when the daemon is closed, whoever closed it. */
  readonly closed: Promise<void>;
  /** Closes the engine, then the sockets; the sandboxes run on. */
  close(): Promise<void>;
};

/**
 * Serves an engine: the API on `<runDir>/api.sock`, and on TCP where the config says so, with the process id in
 * `<runDir>/culvert.pid`. When it cannot, the engine is closed.
 *
 * @param report takes note of failures that are nobody's input, those of the engine among them
 * @throws InputError `token_file`, `socket_taken`, `address_taken`; CulvertError `run_folder`, `socket_failed`, `pid_file`
 */
export async function serve(
  engine: Engine,
  config: Config,
  version: string,
  report: (error: unknown) => void,
  { server: times = {}, heartbeatMs = HEARTBEAT_MS }: Timing = {},
): Promise<Daemon> {
  const metrics = new Metrics();
  const { subscribers: readers, bodyBytes: bodyLimit } = config.limits;
  const events = new EventLog({ run: Date.now().toString(36), capacity: EVENTS_KEPT, readers });
  const unsubscribe = engine.subscribe((event) => {
    metrics.countEvent(event.type);
    events.append(event);
    if (event.type === 'daemon.problem') report(event.message);
  });
  const servers: Server[] = [];
  const paths = new DisposableStack();
  const socketPath = join(config.runDir, 'api.sock');
  const pidFile = join(config.runDir, 'culvert.pid');
  const { promise: closed, resolve, reject } = Promise.withResolvers<void>();

  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    // The sockets go last: who waits for them to go finds the engine closed.
    unsubscribe();
    events.close();
    await engine.close();
    removePidFile(pidFile);
    paths.dispose();
    await Promise.all(servers.map(closeApiServer));
  };
  const stop = (): Promise<void> => {
    closing ??= close().then(resolve, reject);
    return closed;
  };

  const connections = async (): Promise<number> =>
    (await Promise.all(servers.map(countConnections))).reduce((sum, count) => sum + count, 0);
  const app = createApp(
    { engine, config, events, metrics, connections, heartbeatMs, report, stop: () => void stop() },
    version,
  );
  const options = {
    app,
    bodyLimit,
    connections: config.limits.connections,
    times: { ...SERVER_TIMES, ...times },
    report,
  };
  try {
    const token = config.api.tcp === undefined ? undefined : tokenCheck(readToken(config.api.tcp.tokenFile));
    makeFolder(config.runDir);
    const unix = createApiServer(options);
    paths.use(await listenUnix(unix, socketPath));
    servers.push(unix);
    if (config.api.tcp !== undefined && token !== undefined) {
      const tcp = createApiServer({ ...options, token });
      const [host = '', port] = config.api.tcp.listen.split(':');
      await listenTcp(tcp, host, Number(port));
      servers.push(tcp);
    }
    writePidFile(pidFile);
  } catch (error) {
    await stop();
    throw error;
  }
  const address = servers[1]?.address();
  const tcpPort = typeof address === 'object' ? address?.port : undefined;
  return { socketPath, tcpPort, closed, close: stop };
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    const why = String((cause as NodeJS.ErrnoException).code);
    throw new CulvertError('run_folder', `Cannot make the run folder ${path}: ${why}`, { cause });
  }
}
